package keyuri_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/keyuri"
)

var errBad = errors.New("bad URI")

func TestAttributes(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                                  "",
		"a=1;b-c=%2F;id=%00%01":             "a 1,b-c /,id \x00\x01,",
		"a=":                                "a ,",
		"a=b=c":                             "a b=c,",
		"a":                                 "name=value",
		"a=1;":                              "name=value",
		"=secret":                           "name=value",
		"A=secret":                          "name=value",
		"a b=secret":                        "name=value",
		"a=secret%zz":                       "percent-encoded",
		"a=secret%00":                       "percent-encoded",
		"a=secret;a=secret":                 "a comes twice",
		"once=secret":                       "once comes twice",
		strings.Repeat("a", 33) + "=secret": "name=value",
	} {
		var got strings.Builder
		err := keyuri.Attributes(errBad, list, ";", map[string]bool{"once": true}, func(name, value string) error {
			got.WriteString(name + " " + value + ",")
			return nil
		})
		switch {
		case err == nil && got.String() != want:
			t.Errorf("%s: got %q, want %q", list, got.String(), want)
		case err != nil && (!errors.Is(err, errBad) || !strings.Contains(err.Error(), want) || want == "" || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: got %v, want %q", list, err, want)
		}
	}
}
