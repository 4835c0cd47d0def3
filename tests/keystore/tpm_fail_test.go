package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/tests/harness"
)

// persist makes a persistent object with tpm2-tools.
func persist(t *testing.T, s *harness.TPM, handle string, create ...string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	s.Tool(t, "tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", file("primary"))
	s.Tool(t, "tpm2_flushcontext", "--transient-object")
	s.Tool(t, "tpm2_create", append([]string{"-Q", "-C", file("primary"), "-u", file("pub"), "-r", file("priv")}, create...)...)
	s.Tool(t, "tpm2_flushcontext", "--transient-object")
	s.Tool(t, "tpm2_load", "-Q", "-C", file("primary"), "-u", file("pub"), "-r", file("priv"), "-c", file("key"))
	s.Tool(t, "tpm2_evictcontrol", "-Q", "-C", "o", "-c", file("key"), handle)
	s.Tool(t, "tpm2_flushcontext", "--transient-object")
}

const signing = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"

// failures returns how many wrong authorization values the TPM has counted.
func failures(t *testing.T, s *harness.TPM) string {
	t.Helper()
	for line := range strings.Lines(s.Tool(t, "tpm2_getcap", "properties-variable")) {
		if value, found := strings.CutPrefix(line, "TPM2_PT_LOCKOUT_COUNTER: "); found {
			return strings.TrimSpace(value)
		}
	}
	t.Fatal("no TPM2_PT_LOCKOUT_COUNTER")
	return ""
}

func TestPersistentHandles(t *testing.T) {
	t.Parallel()
	s := harness.NewTPM(t)
	persist(t, s, "0x81000001", "-G", "ecc", "-a", signing+"|noda")
	persist(t, s, "0x81000002", "-G", "ecc", "-a", signing, "-p", auth)
	persist(t, s, "0x81000003", "-G", "rsa2048:rsassa-sha256:null", "-a", signing)
	source := "&auth-source=file:" + harness.SecretFile(t, auth)
	for handle, query := range map[string]string{"0x81000001": "", "0x81000002": source, "0x81000003": "&auth-source=none"} {
		p := at(s, handle)
		p.uri += query
		p.signsAs(t, nil)
	}
	p := at(s, "0x81000002")
	p.opts.Secret = func(context.Context, string) ([]byte, error) { return []byte(auth), nil }
	p.signsAs(t, nil)
	if n := failures(t, s); n != "0x0" {
		t.Errorf("the TPM counted %s wrong values", n)
	}

	bound := at(s, "0x81000003").open(t)
	if _, err := bound.Sign(t.Context(), ima.ContentSignature(), ima.SHA512, [][]byte{make([]byte, 64)}); !errors.Is(err, keystore.ErrKeyUse) || !strings.Contains(err.Error(), "SHA-256 only") {
		t.Errorf("a key that signs SHA-256 digests only: %v", err)
	}
}

// TestTPMRefusals checks the error for every reason not to open a key.
func TestTPMRefusals(t *testing.T) {
	t.Parallel()
	s, other := harness.NewTPM(t), harness.NewTPM(t)
	persist(t, s, "0x81000001", "-G", "ecc:ecdsa-sha256:null", "-a", signing+"|restricted")
	persist(t, s, "0x81000002", "-G", "rsa2048", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt")
	persist(t, s, "0x81000003", "-G", "rsa2048:rsapss-sha256:null", "-a", signing)
	persist(t, s, "0x81000004", "-G", "ecc", "-a", "fixedtpm|fixedparent|sensitivedataorigin|sign")
	persist(t, s, "0x81000005", "-G", "aes128")
	foreign := inTPM(t, other, "p256")
	file := func(text string) string { return harness.SecretFile(t, text) }
	keys := harness.Keys(t, "p256")
	socket := filepath.Join(t.TempDir(), "s")
	for name, c := range map[string]struct {
		uri  string
		is   error
		says string
	}{
		"restricted":       {"0x81000001?device=" + s.Device, keystore.ErrKeyUse, "restricted"},
		"decrypts":         {"0x81000002?device=" + s.Device, keystore.ErrKeyUse, "may not sign"},
		"PSS":              {"0x81000003?device=" + s.Device, keystore.ErrKeyUse, "RSASSA"},
		"policy":           {"0x81000004?device=" + s.Device, keystore.ErrKeyUse, "policy"},
		"symmetric":        {"0x81000005?device=" + s.Device, keystore.ErrUnsupportedKey, "RSA and ECDSA"},
		"no such handle":   {"0x81000099?device=" + s.Device, keystore.ErrNotFound, "tpm2_getcap"},
		"transient handle": {"0x80000000?device=" + s.Device, tpm.ErrURI, "tpm2_evictcontrol"},
		"other TPM":        {strings.TrimPrefix(strings.Split(foreign.uri, "?")[0], "tpm2:") + "?device=" + s.Device, keystore.ErrNotFound, "another TPM"},
		"no file":          {"/nowhere/key?device=" + s.Device, os.ErrNotExist, "/nowhere/key"},
		"key of a file":    {keys + "/x509_ima.key?device=" + s.Device, keystore.ErrNotAKey, "file: opens"},
		"certificate":      {keys + "/x509_ima.crt?device=" + s.Device, keystore.ErrNotAKey, "TSS2 PRIVATE KEY"},
		"rubbish":          {file("rubbish") + "?device=" + s.Device, keystore.ErrNotAKey, "TSS2 PRIVATE KEY"},
		"damaged":          {file("-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----") + "?device=" + s.Device, keystore.ErrNotAKey, ""},
		"no device":        {"0x81000001?device=/dev/tpm-of-nobody", keystore.ErrNotFound, "device="},
		"no socket":        {"0x81000001?device=unix:" + socket, keystore.ErrNotFound, "nothing listens"},
		"socket as device": {"0x81000001?device=" + strings.TrimPrefix(s.Device, "unix:"), keystore.ErrNotFound, "unix:"},
		"no TCP":           {"0x81000001?device=tcp:127.0.0.1:1", keystore.ErrNotFound, "nothing listens"},
		"unknown device":   {"0x81000001?device=swtpm", tpm.ErrURI, "unix:PATH"},
		"no key":           {"?device=" + s.Device, tpm.ErrURI, "names no key"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := tpm.New().Open(t.Context(), "tpm2:"+c.uri, keystore.Options{})
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v, want %v with %q", key, err, c.is, c.says)
			}
		})
	}
}

// TestAuthorizationValues checks that a wrong value is tried once, however many workers there
// are, and that the error of a locked TPM says how to unlock it.
func TestAuthorizationValues(t *testing.T) {
	t.Parallel()
	s := harness.NewTPM(t)
	store := tpm.New()
	source := "&auth-source=file:" + harness.SecretFile(t, auth)
	made, err := store.Generate(t.Context(), "tpm2:?device="+s.Device+source, keystore.Request{Name: "ima", Algorithm: "p256"}, keystore.Options{})
	check(t, err)
	check(t, made.Close())
	path := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(path, made.File, 0o600))
	p := at(s, path)
	if _, err := store.Open(t.Context(), p.uri, keystore.Options{}); !errors.Is(err, keystore.ErrPINNeeded) {
		t.Errorf("without a value: %v", err)
	}
	asked := 0
	ask := func(value string) keystore.Options {
		return keystore.Options{Secret: func(_ context.Context, prompt string) ([]byte, error) {
			if !strings.Contains(prompt, path) {
				t.Errorf("asked for %q", prompt)
			}
			asked++
			return []byte(value), nil
		}}
	}
	key, err := store.Open(t.Context(), p.uri, ask(auth))
	check(t, err)
	check(t, key.Close())
	if n := failures(t, s); n != "0x0" || asked != 1 {
		t.Errorf("the TPM counted %s wrong values, %d times a value was asked for", n, asked)
	}
	if _, err = store.Open(t.Context(), p.uri, ask("not-the-value")); !errors.Is(err, keystore.ErrWrongPIN) || strings.Contains(err.Error(), "not-the-value") {
		t.Errorf("with a wrong value: %v", err)
	}
	if n := failures(t, s); n != "0x1" {
		t.Errorf("the TPM counted %s wrong values of one", n)
	}
	s.Tool(t, "tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1", "--recovery-time=1000", "--lockout-recovery-time=1000")
	if _, err = store.Open(t.Context(), p.uri, ask(auth)); !errors.Is(err, keystore.ErrLocked) || !strings.Contains(err.Error(), "--clear-lockout") {
		t.Errorf("locked: %v", err)
	}
	s.Tool(t, "tpm2_dictionarylockout", "--clear-lockout")
	p.opts = ask(auth)
	p.signsAs(t, nil)
}

// TestOwner checks that the parent key needs the owner's authorization value.
func TestOwner(t *testing.T) {
	s := harness.NewTPM(t)
	p := inTPM(t, s, "p256")
	s.Tool(t, "tpm2_changeauth", "-c", "owner", "the-owners")
	if _, err := tpm.New().Open(t.Context(), p.uri, p.opts); !errors.Is(err, keystore.ErrWrongPIN) {
		t.Errorf("without the owner's value: %v", err)
	}
	p.uri += "&owner-auth-source=file:" + harness.SecretFile(t, "the-owners")
	p.signsAs(t, nil)
}

// TestTPMSwitchedOff checks that a key is loaded again after a reset, and that closing it does
// not hang if the TPM is gone.
func TestTPMSwitchedOff(t *testing.T) {
	s := harness.NewTPM(t)
	key := inTPM(t, s, "p256").open(t)
	s.Stop()
	s.Start(t)
	sigs, err := sign(t.Context(), key, digestsOf(0, 1))
	check(t, err)
	check(t, key.Public.Verify(content(digestsOf(0, 1)[0]), sigs[0]))
	s.Stop()
	if _, err := sign(t.Context(), key, digestsOf(0, 1)); !errors.Is(err, keystore.ErrGone) {
		t.Errorf("a TPM that is off: %v", err)
	}
	s.Start(t)
}

// TestOneTPMManyPrograms uses a TPM from several keys of this process and from another program.
// All must finish, and nothing may be left in the TPM.
func TestOneTPMManyPrograms(t *testing.T) {
	t.Parallel()
	s := harness.NewTPM(t)
	store := tpm.New()
	var places [2]*place
	for i := range places {
		places[i] = inTPM(t, s, "p256")
		places[i].backends = keystore.Backends{store}
	}
	t.Run("keys", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, p := range places {
			key := p.open(t)
			for range 4 {
				wg.Go(func() {
					for i := range 10 {
						sigs, err := sign(t.Context(), key, digestsOf(i, 5))
						if err == nil {
							err = key.Public.Verify(content(digestsOf(i, 5)[4]), sigs[4])
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		for range 10 {
			s.Tool(t, "tpm2_getrandom", "--hex", "8")
		}
		wg.Wait()
	})
	for _, what := range []string{"handles-transient", "handles-loaded-session"} {
		if left := s.Tool(t, "tpm2_getcap", what); strings.TrimSpace(left) != "" {
			t.Errorf("%s: %s is left", what, left)
		}
	}
}

// TestNothingInClear listens on the bus. No authorization value may appear there, even when
// the key is made.
func TestNothingInClear(t *testing.T) {
	s := harness.NewTPM(t)
	s.Tool(t, "tpm2_changeauth", "-c", "owner", "the-owners")
	tap := listen(t, strings.TrimPrefix(s.Device, "unix:"))
	query := "?device=unix:" + tap.path + "&auth-source=file:" + harness.SecretFile(t, auth) + "&owner-auth-source=file:" + harness.SecretFile(t, "the-owners")
	store := tpm.New()
	made, err := store.Generate(t.Context(), "tpm2:"+query, keystore.Request{Name: "ima", Algorithm: "p256"}, keystore.Options{})
	check(t, err)
	check(t, made.Close())
	path := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(path, made.File, 0o600))
	key, err := store.Open(t.Context(), "tpm2:"+path+query, keystore.Options{})
	check(t, err)
	_, err = sign(t.Context(), key, digestsOf(0, 3))
	check(t, err)
	check(t, key.Close())
	heard := tap.heard()
	if len(heard) < 2000 {
		t.Fatalf("only %d bytes were heard", len(heard))
	}
	for _, secret := range []string{auth, "the-owners"} {
		if bytes.Contains(heard, []byte(secret)) {
			t.Errorf("%q was on the bus", secret)
		}
	}
	if bytes.Contains(heard, digestsOf(1, 1)[0]) {
		t.Error("the digest was not encrypted on the bus")
	}
}

// tap is a socket in front of another one. It records all traffic.
type tap struct {
	path string
	mu   sync.Mutex
	all  bytes.Buffer
}

func listen(t *testing.T, to string) *tap {
	t.Helper()
	dir, err := os.MkdirTemp("", "tap")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &tap{path: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", w.path)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("unix", to)
			if err != nil {
				c.Close()
				continue
			}
			go func() { io.Copy(io.MultiWriter(d, w), c); d.Close() }()
			go func() { io.Copy(io.MultiWriter(c, w), d); c.Close() }()
		}
	}()
	return w
}

func (w *tap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *tap) heard() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.all.Bytes())
}

// TestTPMByTCP checks swtpm on a TCP port.
func TestTPMByTCP(t *testing.T) {
	s := harness.NewTPM(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { // passes plain commands on
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("unix", strings.TrimPrefix(s.Device, "unix:"))
			if err != nil {
				c.Close()
				continue
			}
			go func() { io.Copy(d, c); d.Close() }()
			go func() { io.Copy(c, d); c.Close() }()
		}
	}()
	p := inTPM(t, s, "p256")
	p.uri = fmt.Sprintf("%s?device=tcp:%s", strings.Split(p.uri, "?")[0], l.Addr())
	p.signsAs(t, nil)
}
