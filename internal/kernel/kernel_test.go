package kernel

import (
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"6.1": {6, 1}, "6.12": {6, 12}, "6.6.30": {6, 6}, "v6.12": {6, 12}, "6.1.0-18-amd64": {6, 1}, "6.12.30-yocto-standard": {6, 12}, "5.15.0+": {5, 15},
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "6", "6.", "six", "6.1.2.3", "6.1x", "-6.1", "6.1 ", "99999.1"} {
		if got, err := ParseVersion(text); !errors.Is(err, ErrVersion) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if got := (Version{}).String() + " " + (Version{6, 12}).String(); got != "newest 6.12" {
		t.Error(got)
	}
	if got := Oldest().String() + " " + Newest().String(); got != "6.1 7.3" {
		t.Error(got)
	}
}

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		v            Version
		major, minor int
		want         bool
	}{
		{Version{6, 1}, 6, 2, true}, {Version{6, 1}, 6, 1, false}, {Version{6, 12}, 6, 2, false}, {Version{5, 15}, 6, 1, true}, {Version{6, 1}, 5, 15, false},
		{Version{}, 99, 0, false}, // the newest
	} {
		if got := c.v.Before(c.major, c.minor); got != c.want || c.v.Older(Version{c.major, c.minor}) != c.want {
			t.Errorf("%s before %d.%d: %v", c.v, c.major, c.minor, got)
		}
	}
}

func TestReadConfig(t *testing.T) {
	c, err := ReadConfig(strings.NewReader("# CONFIG_B is not set\nCONFIG_A=y\nCONFIG_NAME=\"x\"\nCONFIG_CRYPTO_SHA256_ARM64=m\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Builtin("CONFIG_A") || c.Builtin("CONFIG_B") || c.Value("CONFIG_NAME") != "x" || c.Provided("CONFIG_CRYPTO_SHA256") != "m" || c.Provided("CONFIG_CRYPTO_SHA") != "" || c.Provided("CONFIG_C") != "" {
		t.Error(c.values)
	}
	if symbol := HashSymbol(ima.SHA256); c.Provided(symbol) != "m" {
		t.Errorf("the symbol of SHA-256 is %s, with the value %q", symbol, c.Provided(symbol))
	}
	for _, text := range []string{"", "hello", "measure func=BPRM_CHECK\n", "\x1f\x8b" + strings.Repeat("x", 1<<17)} {
		if _, err := ReadConfig(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q: no error", text)
		}
	}
}
