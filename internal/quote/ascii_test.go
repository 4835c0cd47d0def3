package quote

import "testing"

func TestASCII(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n":              "plain\ttext\n",
		"sign PATH…\n":               "sign PATH...\n",
		"“name” – it’s":              `"name" - it's`,
		"caf\u00e9 \U0001f511\n":     `caf\u00e9 \U0001f511` + "\n",
		"\xff\"quoted\" in \u4e2d":   `\xff"quoted" in \u4e2d`,
		`a name with \u00e9 already`: `a name with \u00e9 already`,
	} {
		if got := ASCII(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
