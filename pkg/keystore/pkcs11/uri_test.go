package pkcs11

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const end = "?module-path=/lib/p.so"

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:token=T;object=O" + end: "pkcs11:token=T;object=O?module-path=/lib/p.so",
		"PKCS11:object=O" + end:         "pkcs11:object=O?module-path=/lib/p.so",
		// The examples of RFC 7512, section 5, with a module for each.
		"pkcs11:" + end: "pkcs11:?module-path=/lib/p.so",
		"pkcs11:object=my-pubkey;type=private" + end:                                                     "pkcs11:object=my-pubkey?module-path=/lib/p.so",
		"pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0" + end: "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil%2C%20Inc.;model=1.0?module-path=/lib/p.so",
		"pkcs11:id=%69%95%3E%5C%F4%BD%EC%91" + end:                                                       "pkcs11:id=i%95%3E%5C%F4%BD%EC%91?module-path=/lib/p.so",
		"pkcs11:slot-id=327;serial=1a2b" + end + "&pin-source=file:/etc/pin%26more":                      "pkcs11:serial=1a2b;slot-id=327?module-path=/lib/p.so&pin-source=file:/etc/pin%26more",
		"pkcs11:token=My%20token%25%20created%20by%20Joe" + end:                                          "pkcs11:token=My%20token%25%20created%20by%20Joe?module-path=/lib/p.so",
	} {
		l, err := parseURI(uri)
		if err != nil || l.uri() != want {
			t.Errorf("%s: got %v, %v, want %s", uri, l, err, want)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for uri, says := range map[string]string{
		"pkcs11:token=T":                                "module-path",
		"pkcs11:token=T?module-path=p.so":               "absolute",
		"pkcs11:token=T;token=U" + end:                  "twice",
		"pkcs11:token" + end:                            "name=value",
		"pkcs11:SECRET" + end:                           "name=value",
		"pkcs11:token=T;" + end:                         "name=value",
		"pkcs11:token=%4" + end:                         "percent-encoded",
		"pkcs11:token=%00" + end:                        "percent-encoded",
		"pkcs11:slot-id=SECRET" + end:                   "decimal",
		"pkcs11:type=public" + end:                      "type=private",
		"pkcs11:library-version=3" + end:                "library-version",
		"pkcs11:token=T" + end + "&pin-value=SECRET":    "pin-source",
		"pkcs11:token=T" + end + "&pin-source=|SECRET":  "no commands",
		"pkcs11:token=T" + end + "&module-name=softhsm": "module-path",
		"pkcs11:token=T" + end + "&x-vendor=SECRET":     "x-vendor",
		"file:x": "pkcs11:",
	} {
		_, err := parseURI(uri)
		if !errors.Is(err, ErrURI) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", uri, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v repeats what may be secret", uri, err)
		}
	}
}

// FuzzParseURI checks that an accepted URI, written again, is read as the same location.
func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{
		"pkcs11:token=T;object=O" + end, "pkcs11:id=%00%ff;slot-id=4294967295" + end + "&pin-source=env:PIN",
		"pkcs11:?", "pkcs11:a=b;c", "pkcs11:token=%zz" + end, "pkcs11:token=\xff;object=;" + end,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := parseURI(uri)
		if err != nil {
			return
		}
		again, err := parseURI(l.uri())
		if err != nil {
			t.Fatalf("%q becomes %q: %v", uri, l.uri(), err)
		}
		if l.String() != again.String() || l.uri() != again.uri() || !slices.Equal(l.id, again.id) || l.object != again.object || l.module != again.module {
			t.Errorf("%q becomes %q, which is something else", uri, l.uri())
		}
	})
}
