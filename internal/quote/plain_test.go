package quote_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/quote"
)

// TestPlain checks that the texts have no words of Go, and that the results wrap the cause.
func TestPlain(t *testing.T) {
	var text struct {
		Path string `json:"path"`
	}
	var element struct{}
	strict := json.NewDecoder(strings.NewReader(`{"pth":1}`))
	strict.DisallowUnknownFields()
	_, number := strconv.ParseInt("many", 10, 64)
	_, large := strconv.ParseInt("99999999999999999999", 10, 64)
	_, program := exec.LookPath("no-such-program")
	_, socket := net.Dial("unix", "/nowhere")
	_, certificate := x509.ParseCertificate([]byte{0x05, 0x00})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"type":        {json.Unmarshal([]byte(`{"path": 5}`), &text), `"path" is a number, which is the wrong type`},
		"whole":       {json.Unmarshal([]byte(`[]`), &text), "a JSON array is in the wrong place"},
		"json":        {json.Unmarshal([]byte(`nonsense`), &text), "not valid JSON at byte 2"},
		"unknown":     {strict.Decode(&text), `unknown field "pth"`},
		"xml":         {xml.Unmarshal([]byte("<x"), &element), "the XML ends in the middle of line 1"},
		"xml tags":    {xml.Unmarshal([]byte("<x></y>"), &element), "not valid XML in line 1: element <x> closed by </y>"},
		"number":      {number, `"many" is not a number`},
		"range":       {large, `"99999999999999999999" is too large a number`},
		"program":     {program, "there is no program no-such-program in PATH"},
		"socket":      {socket, "no such file or directory"},
		"certificate": {certificate, "malformed certificate"},
		"end":         {io.ErrUnexpectedEOF, "the data ends too early"},
		"plain":       {errors.New("as it is"), "as it is"},
	} {
		got := quote.Plain(c.err)
		if got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
	if quote.Plain(nil) != nil {
		t.Error("no error became one")
	}
}
