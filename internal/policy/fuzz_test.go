package policy

import (
	"bytes"
	"testing"

	"github.com/imasign/imasign-build/internal/kernel"
)

// FuzzParse checks that no file makes the package panic, that printing returns the same bytes,
// and that an accepted rule is also accepted in its canonical form.
func FuzzParse(f *testing.F) {
	for _, profile := range Profiles() {
		text, err := Generate(profile.Name, IMASig)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("appraise fowner=0 # no comment\r\nmeasure\x00func=BPRM_CHECK"))
	f.Add([]byte("measure func=KEY_CHECK keyrings=.ima|.evm uid>0 gid<5\nappraise appraise_algos=sha256,sha512 func=SETXATTR_CHECK\n"))
	f.Add([]byte("measure digest_type=verity template=d-ngv2|n-ng fsuuid=8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6 pcr=-0 mask=^MAY_APPEND fsmagic=+0x9FA0\n"))
	f.Add([]byte("appraise appraise_type=imasig|modsig appraise_type=sigv3 digest_type=verity func=MODULE_CHECK # comment\r\ndont_audit fs_subtype=a#b\n"))
	f.Add([]byte("appraise appraise_type=imasig digest_type=verity\nappraise appraise_type=sigv4 new=x func=NEW_CHECK\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		if !bytes.Equal(p.text(), data) {
			t.Fatalf("%q is printed as %q", data, p.text())
		}
		for _, k := range []Target{
			{},
			{Profile: kernel.Profile{Version: kernel.Version{Major: 5, Minor: 4}}},
			{Profile: kernel.Profile{Version: kernel.Version{Major: 6, Minor: 1}}},
			{Profile: kernel.Profile{Version: kernel.Version{Major: 7, Minor: 1}}},
			{Profile: kernel.Profile{Version: kernel.Version{Major: 99, Minor: 9}}}, // newer than the known ones
		} {
			Check(p, k)
			rules, _ := k.Rules(p)
			again, findings := k.Rules(mustParse(t, Format(rules)))
			if len(again) != len(rules) || !bytes.Equal(Format(again), Format(rules)) {
				t.Fatalf("%q became %q: %v", Format(rules), Format(again), findings)
			}
		}
	})
}

func mustParse(t *testing.T, data []byte) *Policy {
	t.Helper()
	p, err := Parse(data)
	if err != nil {
		t.Skip("too large in its canonical form")
	}
	return p
}
