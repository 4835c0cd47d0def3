package tpm

import (
	"errors"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]location{
		"tpm2:/keys/ima.key":                                     {path: "/keys/ima.key", device: defaultDevice},
		"TPM2:ima.key?device=/dev/tpm0":                          {path: "ima.key", device: "/dev/tpm0"},
		"tpm2:0x81000001":                                        {handle: 0x81000001, device: defaultDevice},
		"tpm2:0x81ABCDEF?device=unix:/run/s":                     {handle: 0x81abcdef, device: "unix:/run/s"},
		"tpm2:./0x81000001":                                      {path: "./0x81000001", device: defaultDevice},
		"tpm2:a%3fb%20c?device=tcp:127.0.0.1:2321":               {path: "a?b c", device: "tcp:127.0.0.1:2321"},
		"tpm2:k?auth-source=env:A&owner-auth-source=file:/a%26b": {path: "k", device: defaultDevice, auth: "env:A", owner: "file:/a&b"},
		"tpm2:?device=unix:s":                                    {device: "unix:s"},
	} {
		l, err := parseURI(uri)
		if err != nil || *l != want {
			t.Errorf("%s: got %+v, %v, want %+v", uri, l, err, want)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for uri, says := range map[string]string{
		"tpm2:0x80000000":          "persistent",
		"tpm2:0x8100000100":        "./0x8100000100",
		"tpm2:0xSECRETARY":         "./",
		"tpm2:k%4":                 "percent-encoded",
		"tpm2:k?SECRET":            "name=value",
		"tpm2:k?device=":           "empty",
		"tpm2:k?device=a&device=b": "twice",
		"tpm2:k?auth=SECRET":       "auth-source",
		"tpm2:k?device=/dev/tpm0&": "name=value",
		"pkcs11:k":                 "tpm2:",
	} {
		_, err := parseURI(uri)
		if !errors.Is(err, ErrURI) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", uri, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET ") {
			t.Errorf("%s: %v repeats what may be secret", uri, err)
		}
	}
}

// FuzzParseURI checks that no URI names both a file and a handle, and none crashes.
func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{"tpm2:k?device=unix:/s", "tpm2:0x81000001", "tpm2:?device=tcp:h:1&auth-source=fd:3", "tpm2:%", "tpm2:0x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := parseURI(uri)
		if err != nil {
			return
		}
		if l.handle != 0 && (l.path != "" || l.handle>>24 != 0x81) || l.device == "" {
			t.Errorf("%q: %+v", uri, l)
		}
	})
}
