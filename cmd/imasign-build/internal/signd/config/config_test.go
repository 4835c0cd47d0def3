package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/pkg/ima"
)

// whole uses everything that a configuration may have.
const whole = `listen: 127.0.0.1:7443
audiences: [127.0.0.1:7443, "localhost:7443"]
tls: {certificate: tls/server.crt, key: file:tls/server.key, clients: tls/ca.crt}
metrics: 127.0.0.1:9443
log: {directory: log, key: cred:log.key}
approvals: approvals
keys:
  - {name: image, uri: "pkcs11:token=T;object=O", certificate: image.crt, pass: "file:pin"}
  - name: evm
    uri: evm.key
    for: v3
requesters:
  - {name: ci, key: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=, audit: true}
  - {name: koji, key: PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=, certificate: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
approvers:
  - {name: alice, certificate: alice.crt}
  - {name: bob, certificate: bob.crt}
rules:
  - {name: images, keys: [image], requesters: [ci], hashes: [sha256], forms: [v2], batch: 1024, quota: 200000}
  - {name: packages, keys: [image], requesters: [koji], forms: [v2], header: {keyring: keys.asc, built-after: 2026-01-01}}
  - {name: release, keys: [image, evm], requesters: [ci, koji], forms: [v2, evm, verity, v3, evm-v3], approved: {by: [alice, bob], at-least: 2, origin: release}}
`

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("/etc/serve.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys) != 2 || len(c.Requesters) != 2 || len(c.Rules) != 3 || c.Rules[0].Quota != 200000 || c.Rules[0].Hashes[0] != ima.SHA256 || c.Rules[2].Forms[1] != ima.PortableSignature() {
		t.Errorf("got %+v", c)
	}
	if !c.Requesters[0].Audit || c.Requesters[0].Certificate == [32]byte{} || c.Requesters[1].Certificate[0] != 0xe3 {
		t.Errorf("got %+v", c.Requesters)
	}
	if !c.Rules[1].Header.BuiltAfter.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || c.Rules[2].Approved.AtLeast != 2 {
		t.Errorf("got %+v", c.Rules)
	}
	uri, err := c.KeyURI(&c.Keys[1])
	if err != nil || uri != "file:/etc/evm.key" || c.Source("file:a/b") != "file:/etc/a/b" || c.Source("cred:a") != "cred:a" || c.Path("/a") != "/a" {
		t.Errorf("got %s, %v", uri, err)
	}
	for from, to := range map[string]string{"tpm2:a.tss?device=/dev/tpm0": "tpm2:/etc/a.tss?device=/dev/tpm0", "tpm2:0x81000001": "tpm2:0x81000001", "file:/k": "file:/k"} {
		if uri, err := c.KeyURI(&config.Key{URI: from}); err != nil || uri != to {
			t.Errorf("%s: got %s, %v", from, uri, err)
		}
	}
}

// TestMistakes makes one mistake at a time, and checks where it is found and what is said. ¦ is
// where the mistake is, unless at says so.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, at, words string }{
		{"metrics:", "¦metric:", "", `unknown name "metric"`},
		{"quota: 200000", "¦qouta: 1", "", "batch, quota"},
		{"audit: true", "audit: ¦yes", "", "true or false"},
		{"name: ci, key", "name: ci, ¦name: ci, key", "", "given twice, first on line 13"},
		{"batch: 1024", "batch: ¦many", "", "whole number"},
		{"batch: 1024", "batch: ¦1.5", "", "whole number"},
		{"batch: 1024", "batch: ¦2000", "", "1 to 1024"},
		{"batch: 1024", "batch: ¦0", "", "1 to 1024"},
		{"quota: 200000", "quota: ¦-1", "", "at least 1"},
		{"hashes: [sha256]", "hashes: ¦sha256", "", "must be a list"},
		{"hashes: [sha256]", "hashes: [¦md5]", "", "md5"},
		{"hashes: [sha256]", "hashes: [¦sha1]", "", "sha1"},
		{"name: images", "name: ¦5", "", `must be text: put it in quotes`},
		{"name: images", "name: ¦../x", "", "a name has letters"},
		{"name: packages", "name: ¦images", "", "another one of the rules"},
		{"name: images", "name: ¦", "", "no value"},
		{"keys: [image], requesters: [ci]", "keys: [¦imag], requesters: [ci]", "", "there is no key imag"},
		{"requesters: [ci],", "requesters: [¦cj],", "", "there is no requester cj"},
		{"requesters: [ci],", "requesters: ¦[],", "", "names no requester"},
		{"forms: [v2], batch", "forms: [¦v4], batch", "", "v2, v3, verity"},
		{"listen: 127.0.0.1:7443\n", "", "1:1", "the configuration lacks listen"},
		{"metrics: 127.0.0.1:9443", "metrics: ¦0.0.0.0:9443", "", "loopback"},
		{"key: file:tls/server.key", "key: ¦tls/server.key", "", "file:PATH or cred:NAME"},
		{"11qYAYKxCrfVS", "¦1qYAYKxCrfVS", "", "32 bytes in base64"},
		{"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", "¦11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "", "requester ci as well"},
		{`"sha256:e3b0`, `¦"sha256:e3b`, "", "64 hexadecimal digits"},
		{"by: [alice, bob]", "by: [alice, ¦eve]", "", "no approver eve"},
		{"at-least: 2", "at-least: ¦3", "", "1 to 2"},
		{"approvals: approvals\n", "", "20:113", "approvals must name"},
		{"built-after: 2026-01-01", "built-after: ¦soon", "", "2026-01-31"},
		{"uri: evm.key", "uri: ¦gopher:x", "", "gopher"},
		{"for: v3", "for: ¦v2", "", "v3 or any"},
		{"metrics: 127.0.0.1:9443", "metrics: ¦&a 127.0.0.1:9443", "", "anchors"},
		{"metrics: 127.0.0.1:9443", "metrics: ¦!!str 127.0.0.1:9443", "", "tags"},
		{"tls: {", "tls: {¦<<: {}, ", "", "merges"},
		{"rules:\n", "¦---\nrules:\n", "", "a second document"},
		{"rules:\n", "rules:\n\t- a\n", "19", "YAML"},
		{whole, "", "", "it is empty"},
		{whole, "¦[]", "", "must have names and values"},
		{`audiences: [127.0.0.1:7443, "localhost:7443"]`, "audiences: [¦example.com]", "", "HOST:PORT"},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if text == whole {
			t.Fatalf("%q does not occur", c.old)
		}
		at := c.at
		if before, _, marked := strings.Cut(text, "¦"); marked {
			at = fmt.Sprintf("%d:%d", strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n'))
		}
		_, err := config.Parse("serve.yaml", []byte(strings.Replace(text, "¦", "", 1)))
		want := "serve.yaml:" + at + ": "
		if at == "" {
			want = "serve.yaml: "
		}
		if !errors.Is(err, config.ErrInvalid) || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q for %q: got %v, want %s…%s", c.new, c.old, err, want, c.words)
		}
		if err != nil && strings.Contains(err.Error(), "config.") {
			t.Errorf("a name of Go: %v", err)
		}
	}
}

func TestAllMistakesAreReported(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("metrics:", "metric:", "approvers:", "aprovers:").Replace(whole)
	_, err := config.Parse("serve.yaml", []byte(text))
	if err == nil || strings.Count(err.Error(), "unknown name") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "serve.yaml")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Read(t.Context(), path); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, config.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Read(t.Context(), path); err == nil {
		t.Error("a large file is read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if (c == nil) == (err == nil) || err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Errorf("got %v, %v", c, err)
		}
	})
}

// TestSecretsAreNotRepeated has secrets where only their sources belong.
func TestSecretsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"246810", "*hunter2", "&hunter2", "!hunter2", "{hunter2: 1}", "[hunter2]", "|hunter2"} {
		_, err := config.Parse("serve.yaml", []byte(strings.Replace(whole, `"file:pin"`, secret, 1)))
		if err == nil || strings.Contains(err.Error(), strings.Trim(secret, "*&!{}[]|: 1")) {
			t.Errorf("%s: %v", secret, err)
		}
	}
}
