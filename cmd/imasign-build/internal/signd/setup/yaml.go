package setup

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
)

// configuration returns the text of the configuration. It is read back, so that no service is
// made that cannot be started.
func configuration(o Options, audiences []string, requester ed25519.PublicKey) ([]byte, error) {
	key := "name: " + quoted(o.Key.Name) + ", uri: " + quoted(o.Key.URI)
	for _, optional := range [][2]string{{"certificate", o.Key.Certificate}, {"pass", o.Key.Pass}, {"for", o.Key.For}} {
		if optional[1] != "" {
			key += ", " + optional[0] + ": " + quoted(optional[1])
		}
	}
	metrics := ""
	if o.Metrics != "" {
		metrics = "metrics: " + quoted(o.Metrics) + "\n"
	}
	text := fmt.Sprintf(`# A signing service: imasign-build serve serve.yaml. "imasign-build serve check serve.yaml" checks changes,
# and SIGHUP makes a running service take those of requesters, rules and certificates.
listen: %s
audiences: %s
tls: {certificate: tls/server.crt, key: "file:tls/server.key", clients: tls/ca.crt}
%slog: {directory: log, key: "file:log.key"}
keys:
  - {%s}
# Requesters by Ed25519 key, which is by default the key of their client certificate, too.
requesters:
  - {name: %s, key: %s, audit: true}
# The first rule that grants a request decides. What none grants is refused.
rules:
  - {name: %s, keys: %s, requesters: %s, forms: %s}
`, quoted(o.Listen), list(audiences), metrics, key, Requester, base64.StdEncoding.EncodeToString(requester), Requester, list([]string{o.Key.Name}), list([]string{Requester}), list(o.Forms))
	c, err := config.Parse("serve.yaml", []byte(text))
	if err == nil && c.Keys[0] != o.Key {
		err = fmt.Errorf("key %s: a configuration is UTF-8, and %q is not", o.Key.Name, o.Key.URI)
	}
	return []byte(text), err
}

// quoted returns text as YAML reads it in any place. The escapes of Go are also those of YAML, if text
// is UTF-8.
func quoted(text string) string { return strconv.Quote(text) }

func list(words []string) string {
	var all []string
	for _, word := range words {
		all = append(all, quoted(word))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
