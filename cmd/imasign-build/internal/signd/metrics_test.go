package signd

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// Lines of the text format (version 0.0.4), and of what is exposed.
var (
	comment = regexp.MustCompile(`^# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))$`)
	sample  = regexp.MustCompile(`^[a-z_]+(\{[a-z]+="([^"\\\n]|\\[\\"n])*"\})? -?[0-9.e+-]+$`)
)

// TestMetrics checks the values after some requests, and the form of every line.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := simple(t)
	_, err := s.ci.ask(t, s.ci.request(s.address, 100))
	check(t, err)
	r := s.ci.request("elsewhere:1", 1)
	_, err = s.ci.ask(t, r)
	refused(t, err, protocol.WrongAudience, "")
	status := httptest.NewServer(s.Status())
	defer status.Close()
	text, _ := strings.CutPrefix(get(t, status.URL+"/metrics"), "200 ")
	for _, line := range []string{
		`imasign_signatures_total{key="image"} 100`, `imasign_batches_total{key="image"} 1`, `imasign_refusals_total{code="wrong-audience"} 1`,
		`imasign_refusals_total{code="busy"} 0`, `imasign_key_up{key="image"} 1`, `imasign_queue_digests{key="image"} 0`, `imasign_log_sync_seconds_count 2`,
		`imasign_log_sync_seconds_bucket{le="+Inf"} 2`, `imasign_connections 1`, `imasign_request_ids 1`, `imasign_ready 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	names := map[string]bool{}
	for line := range strings.Lines(text + "\n") {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, " ")
		switch {
		case comment.MatchString(line):
		case !sample.MatchString(line):
			t.Errorf("not in the format: %s", line)
		case names[name]:
			t.Errorf("twice: %s", name)
		}
		names[name] = line[0] != '#'
	}
	for _, name := range []string{"server", "clients 1", "requester ci"} { // the test's certificates are valid for an hour
		if !strings.Contains(text, `imasign_certificate_expiry_days{certificate="`+name+`"} 0.04`) {
			t.Errorf("the days until the certificate of %s expires are wrong", name)
		}
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	t.Parallel()
	e := &exposition{}
	e.value("x", 1, "key", "a\"b\\c\nd")
	if got := e.String(); got != `x{key="a\"b\\c\nd"} 1`+"\n" {
		t.Errorf("got %q", got)
	}
}
