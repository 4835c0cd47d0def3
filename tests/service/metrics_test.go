package service

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// python is the one that has Debian's modules.
const python = "/usr/bin/python3"

// families lists the metrics that the parser of Prometheus' own Python client finds.
const families = `import sys
from prometheus_client.parser import text_string_to_metric_families
for m in text_string_to_metric_families(open(sys.argv[1]).read()):
    print(m.name, m.type, len(m.samples), bool(m.documentation))
`

// TestMetricsAreParsed lets a peer parse /metrics of a server that has signed.
func TestMetricsAreParsed(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	response, err := http.Get("http://" + s.monitor + "/metrics")
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	file := filepath.Join(t.TempDir(), "metrics")
	check(t, os.WriteFile(file, text, 0o600))
	out := harness.Must(t, harness.Tool(t, python), "-c", families, file)
	for _, line := range []string{
		"imasign_signatures counter 1 True", "imasign_refusals counter 18 True", "imasign_key_up gauge 1 True", "imasign_log_sync_seconds histogram 16 True",
		"imasign_certificate_expiry_days gauge 3 True", "imasign_ready gauge 1 True",
	} {
		if !strings.Contains("\n"+out, "\n"+line+"\n") {
			t.Errorf("there is no %s:\n%s", line, out)
		}
	}
}
