package evmctl

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// frozen is the file of vectors by which pkg/ima is tested without evmctl, in
// pkg/ima/vectors_test.go.
type frozen struct {
	Origin  string            `json:"origin"`
	Content string            `json:"content"`
	Keys    map[string]string `json:"keys"` // certificates in PEM, by key name
	Vectors []frozenVector    `json:"vectors"`
}

type frozenVector struct {
	Key     string `json:"key,omitempty"`
	Command string `json:"command"`
	Value   string `json:"value"`         // hexadecimal
	IMA     string `json:"ima,omitempty"` // security.ima under a security.evm value
}

const frozenFile = "../../pkg/ima/testdata/evmctl.json"

// TestFrozen verifies the frozen signatures with evmctl. To regenerate them:
//
//	FREEZE=1 go test ./tests/evmctl -run TestFrozen
func TestFrozen(t *testing.T) {
	if os.Getenv("FREEZE") != "" {
		freeze(t)
	}
	var f frozen
	check(t, json.Unmarshal(read(t, frozenFile), &f))
	ders := map[string]string{}
	for name, cert := range f.Keys {
		block, _ := pem.Decode([]byte(cert))
		ders[name] = filepath.Join(t.TempDir(), name+".der")
		check(t, os.WriteFile(ders[name], block.Bytes, 0o644))
	}
	verified := 0
	for _, v := range f.Vectors {
		if v.Key == "" || !strings.HasPrefix(v.Command, "ima_sign -a") {
			continue
		}
		file := newFile(t)
		value, err := hex.DecodeString(v.Value)
		check(t, err)
		setxattr(t, file, ima.XattrIMA, value)
		evmctl(t, "ima_verify", "--key", ders[v.Key], file)
		verified++
	}
	if verified < 30 {
		t.Errorf("only %d frozen signatures", verified)
	}
}

func freeze(t *testing.T) {
	t.Helper()
	versions := evmctl(t, "--version")
	ssl, _ := run(t, "openssl", "version")
	f := frozen{
		Origin: strings.TrimSpace(versions) + ", " + strings.TrimSpace(ssl) +
			"; made by tests/evmctl/freeze_test.go, the private keys are gone",
		Content: content,
		Keys:    map[string]string{},
	}
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521"} {
		key := newKey(t, name, "hash")
		f.Keys[name] = string(read(t, key.pem))
		for _, hash := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
			f.add(t, key, "ima_sign", "-a", hash)
		}
		if key.isRSA() {
			f.add(t, key, "ima_sign", "--rsa", "-a", "sha1")
			f.add(t, key, "ima_sign", "--rsa", "-a", "sha256")
		}
		for _, bits := range []string{"--m64", "--m32"} {
			f.add(t, key, "sign", "--imahash", "--portable", bits, "--uid", "1000", "--gid", "2000", "--mode", "33261")
		}
	}
	for _, hash := range []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512"} {
		f.add(t, nil, "ima_hash", "-a", hash)
	}
	out, err := json.MarshalIndent(f, "", " ")
	check(t, err)
	check(t, os.WriteFile(frozenFile, append(out, '\n'), 0o644))
}

// add records the values that an evmctl command writes.
func (f *frozen) add(t *testing.T, key *testKey, command ...string) {
	t.Helper()
	v, file, args := frozenVector{Command: strings.Join(command, " ")}, newFile(t), command
	if key != nil {
		v.Key = key.name
		args = append(args, "--key", key.priv)
	}
	evmctl(t, append(args, file)...)
	v.Value = hex.EncodeToString(getxattr(t, file, ima.XattrIMA))
	if command[0] == "sign" {
		v.IMA, v.Value = v.Value, hex.EncodeToString(getxattr(t, file, ima.XattrEVM))
	}
	f.Vectors = append(f.Vectors, v)
}
