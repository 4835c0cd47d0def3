package kernel

import (
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestLacks(t *testing.T) {
	content, portable := ima.ContentSignature(), ima.PortableSignature()
	config := func(lines string) *Config {
		c, err := ReadConfig(strings.NewReader("CONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\n" + lines))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	stock := config("CONFIG_CRYPTO_ECDSA=m\nCONFIG_IMA_DEFAULT_HASH=\"sha256\"\n") // as Debian's
	full := config("CONFIG_CRYPTO_ECDSA=y\nCONFIG_CRYPTO_MLDSA=y\nCONFIG_IMA_DEFAULT_HASH=\"sha512\"\n")
	for _, c := range []struct {
		profile   Profile
		form      ima.Form
		algorithm string
		hash      ima.HashID
		want      []string // cause and when
	}{
		{Profile{}, content, "rsa2048", ima.SHA256, nil},
		{Profile{Version: Version{6, 1}}, content, "rsa2048", ima.SHA512, nil},
		{Profile{Version: Version{7, 0}}, content.V3(), "rsa2048", ima.SHA256, []string{"invalid-signature-version always"}},
		{Profile{Version: Version{7, 0}}, portable.V3(), "rsa2048", ima.SHA256, []string{"invalid-fail-immutable always"}},
		{Profile{Version: Version{7, 0}}, ima.VeritySignature(), "rsa2048", ima.SHA256, nil},
		{Profile{Version: Version{5, 18}}, ima.VeritySignature(), "p256", ima.SHA256, []string{"unknown-ima-data always"}},
		{Profile{Version: Version{7, 1}}, content.V3(), "mldsa44", ima.SHA256, []string{"invalid-signature always"}},
		{Profile{Version: Version{7, 2}}, content.V3(), "mldsa44", ima.SHA384, []string{"invalid-signature assumed"}},
		{Profile{Version: Version{7, 2}, Config: stock}, content.V3(), "mldsa87", ima.SHA384, []string{"invalid-signature always"}},
		{Profile{Config: full}, portable.V3(), "mldsa65", ima.SHA512, nil},
		{Profile{Version: Version{5, 12}}, content, "p256", ima.SHA256, []string{"invalid-signature always"}},
		{Profile{Version: Version{6, 9}}, content, "p521", ima.SHA512, []string{"invalid-signature always"}},
		{Profile{Version: Version{6, 10}, Config: stock}, portable, "p521", ima.SHA512, []string{"invalid-fail-immutable sometimes"}},
		{Profile{Config: stock}, content, "rsa4096", ima.SHA3_256, []string{"failed always"}},

		// the default hash of 7.1
		{Profile{Version: Version{7, 1}}, content.V3(), "rsa2048", ima.SHA256, []string{"invalid-signature assumed"}},
		{Profile{Version: Version{7, 1}}, content.V3(), "rsa2048", ima.SHA512, []string{"invalid-signature sometimes"}},
		{Profile{Version: Version{7, 1}, Config: stock}, content.V3(), "rsa2048", ima.SHA256, nil},
		{Profile{Version: Version{7, 1}, Config: stock}, content.V3(), "rsa2048", ima.SHA384, []string{"invalid-signature sometimes"}},
		{Profile{Version: Version{7, 1}, Config: full}, content.V3(), "rsa2048", ima.SHA512, nil},
		{Profile{Version: Version{7, 1}, Config: stock}, content, "rsa2048", ima.SHA384, nil},
		{Profile{Version: Version{7, 1}, Config: stock}, portable.V3(), "rsa2048", ima.SHA384, nil},
		{Profile{Version: Version{7, 2}, Config: stock}, content.V3(), "rsa2048", ima.SHA384, nil},
	} {
		var got []string
		for _, l := range c.profile.Lacks(c.form, c.algorithm, c.hash) {
			if l.Reason == "" {
				t.Errorf("%v %v %s %s: no reason", c.profile.Version, c.form, c.algorithm, c.hash)
			}
			got = append(got, l.Cause+" "+[...]string{"always", "sometimes", "assumed"}[l.When])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v %v %s %s: got %q, want %q", c.profile.Version, c.form, c.algorithm, c.hash, got, c.want)
		}
	}
}
