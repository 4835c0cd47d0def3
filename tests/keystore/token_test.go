package keystore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/tests/harness"
)

const spyModule = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"

// pkcs11Tool runs OpenSC's pkcs11-tool, logged in to the token.
func pkcs11Tool(t *testing.T, h *harness.SoftHSM, args ...string) string {
	t.Helper()
	return harness.Must(t, harness.Tool(t, "pkcs11-tool"), append([]string{"--module", h.Module, "--token-label", "build", "--login", "--pin", pin}, args...)...)
}

func tokenWith(t *testing.T, algorithm string) (*harness.SoftHSM, *place) {
	t.Helper()
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	return h, inToken(t, h, algorithm, "ima")
}

// TestTokenRefusals checks the error for every reason not to open a key: its sentinel, its
// advice, and that it does not contain the PIN.
func TestTokenRefusals(t *testing.T) {
	h, _ := tokenWith(t, "p256")
	h.InitToken(t, "twin", pin)
	h.InitToken(t, "twin", pin)
	pkcs11Tool(t, h, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "two", "--id", "01")
	pkcs11Tool(t, h, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "two", "--id", "02")
	notForSignatures(t, h, "derives")
	pkcs11Tool(t, h, "--keypairgen", "--key-type", "EC:secp256k1", "--label", "koblitz", "--id", "04")
	module := "?module-path=" + h.Module
	source := "&pin-source=file:" + harness.SecretFile(t, pin)
	wrong := "&pin-source=file:" + harness.SecretFile(t, "0000-is-wrong")
	for name, c := range map[string]struct {
		uri  string
		is   error
		says []string
	}{
		"no module":     {"pkcs11:token=build;object=ima?module-path=/nowhere/p11.so", keystore.ErrNotFound, []string{"/nowhere/p11.so", "installed"}},
		"not a module":  {"pkcs11:token=build;object=ima?module-path=" + libc(t), keystore.ErrNotFound, []string{"no PKCS#11 module"}},
		"directory":     {"pkcs11:token=build?module-path=/usr", keystore.ErrNotFound, []string{"no file"}},
		"no token":      {"pkcs11:token=other;object=ima" + module + source, keystore.ErrNotFound, []string{"token=other", `"build"`}},
		"many tokens":   {"pkcs11:token=twin;object=ima" + module + source, nil, []string{"several tokens", "serial="}},
		"no object":     {"pkcs11:token=build;object=other" + module + source, keystore.ErrNotFound, []string{"object=other", "object=ima"}},
		"many objects":  {"pkcs11:token=build;object=two" + module + source, keystore.ErrSeveralKeys, []string{"id=%01", "id=%02"}},
		"wrong PIN":     {"pkcs11:token=build;object=ima" + module + wrong, keystore.ErrWrongPIN, []string{"once", "CKR_PIN_INCORRECT"}},
		"no PIN":        {"pkcs11:token=build;object=ima" + module, keystore.ErrPINNeeded, []string{`"build"`}},
		"no PIN file":   {"pkcs11:token=build;object=ima" + module + "&pin-source=file:/nowhere/pin", os.ErrNotExist, []string{"/nowhere/pin"}},
		"PIN in URI":    {"pkcs11:token=build;object=ima" + module + "&pin-value=" + pin, pkcs11.ErrURI, []string{"pin-value", "pin-source"}},
		"PIN as source": {"pkcs11:token=build;object=ima" + module + "&pin-source=" + pin, keystore.ErrSecretSource, []string{"pin-source"}},
		"no signatures": {"pkcs11:token=build;object=derives" + module + source, keystore.ErrKeyUse, []string{"CKA_SIGN"}},
		"other curve":   {"pkcs11:token=build;object=koblitz" + module + source, keystore.ErrUnsupportedKey, []string{"1.3.132.0.10"}},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := pkcs11.New().Open(t.Context(), c.uri, keystore.Options{})
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				if key != nil {
					check(t, key.Close())
				}
				t.Fatalf("got %v, %v, want %v", key, err, c.is)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), pin) || strings.Contains(err.Error(), "0000-is-wrong") {
				t.Errorf("%q shows the PIN", err)
			}
		})
	}
}

// notForSignatures makes a key whose CKA_SIGN is false. No tool can make one.
func notForSignatures(t *testing.T, h *harness.SoftHSM, label string) {
	t.Helper()
	ctx := p11.New(h.Module)
	check(t, ctx.Initialize())
	defer ctx.Finalize()
	slots, err := ctx.GetSlotList(true)
	check(t, err)
	for _, slot := range slots {
		if info, err := ctx.GetTokenInfo(slot); err != nil || info.Label != "build" {
			continue
		}
		session, err := ctx.OpenSession(slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
		check(t, err)
		check(t, ctx.Login(session, p11.CKU_USER, pin))
		common := []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, label), p11.NewAttribute(p11.CKA_ID, "derives")}
		prime256v1 := []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}
		_, _, err = ctx.GenerateKeyPair(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)},
			append(common, p11.NewAttribute(p11.CKA_EC_PARAMS, prime256v1)), append(common, p11.NewAttribute(p11.CKA_SIGN, false), p11.NewAttribute(p11.CKA_DERIVE, true)))
		check(t, err)
	}
}

func libc(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/libc.so.6")
	if err != nil || len(found) == 0 {
		t.Fatal("this machine has no libc.so.6")
	}
	return found[0]
}

// TestTokenByItsAttributes checks that a token and an object are found by the attributes that
// p11tool prints, or that a person writes.
func TestTokenByItsAttributes(t *testing.T) {
	h := harness.NewSoftHSM(t)
	label := "a label; 100% & more?"
	h.InitToken(t, label, pin)
	list := harness.Must(t, harness.Tool(t, "p11tool"), "--provider", h.Module, "--list-token-urls")
	uri := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, "SoftHSM") && strings.Contains(line, "label") {
			uri = strings.TrimSpace(line)
		}
	}
	if uri == "" {
		t.Fatalf("p11tool lists %s", list)
	}
	store := pkcs11.New()
	query := "?module-path=" + h.Module + "&pin-source=file:" + harness.SecretFile(t, pin)
	made, err := store.Generate(t.Context(), uri+query, keystore.Request{Name: "own name", Algorithm: "p256"}, keystore.Options{})
	check(t, err)
	check(t, made.Close())
	key, err := store.Open(t.Context(), made.URI, keystore.Options{})
	check(t, err)
	if key.Public.ID() != made.Public.ID() || !strings.Contains(key.Provider, label) {
		t.Errorf("%s opens %v by %s", made.URI, key, key.Provider)
	}
	check(t, key.Close())
	objects := harness.Must(t, "p11tool", "--provider", h.Module, "--list-all", "--login", "--set-pin", pin, uri)
	for line := range strings.Lines(objects) {
		object, found := strings.CutPrefix(strings.TrimSpace(line), "URL: ")
		if !found || !strings.HasSuffix(object, "type=private") {
			continue
		}
		key, err := store.Open(t.Context(), object+query, keystore.Options{})
		check(t, err)
		check(t, key.Close())
		return
	}
	t.Errorf("p11tool lists no private key: %s", objects)
}

// TestLostSessions closes all sessions from another part of the process, which also logs out.
// Eight workers must continue with new sessions, and the PIN must be asked for once.
func TestLostSessions(t *testing.T) {
	h, p := tokenWith(t, "p256")
	asked := 0
	p.uri = strings.Split(p.uri, "&pin-source")[0]
	p.opts.Secret = func(context.Context, string) ([]byte, error) { asked++; return []byte(pin), nil }
	key := p.open(t)
	for range 5 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				sigs, err := sign(t.Context(), key, digestsOf(0, 3))
				if err != nil {
					t.Error(err)
					return
				}
				check(t, key.Public.Verify(content(digestsOf(0, 3)[2]), sigs[2]))
			})
		}
		wg.Wait()
		closeAllSessions(t, h) // not while SoftHSM2 signs: it would crash
	}
	if asked != 1 {
		t.Errorf("the PIN was asked for %d times", asked)
	}
}

// closeAllSessions closes all sessions, as another user of the module in this process might.
func closeAllSessions(t *testing.T, h *harness.SoftHSM) {
	t.Helper()
	ctx := p11.New(h.Module)
	slots, err := ctx.GetSlotList(true)
	check(t, err)
	check(t, ctx.CloseAllSessions(slots[0]))
}

// changePIN changes the PIN from inside this process: SoftHSM2 remembers the previous one.
func changePIN(t *testing.T, h *harness.SoftHSM, to string) {
	t.Helper()
	ctx := p11.New(h.Module)
	slots, err := ctx.GetSlotList(true)
	check(t, err)
	session, err := ctx.OpenSession(slots[0], p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	check(t, err)
	check(t, ctx.SetPIN(session, pin, to))
}

// TestPINIsPresentedOnce checks that a wrong PIN is tried once. OpenSC's spy module logs every
// call.
func TestPINIsPresentedOnce(t *testing.T) {
	h, _ := tokenWith(t, "p256")
	log := filepath.Join(t.TempDir(), "spy")
	t.Setenv("PKCS11SPY", h.Module)
	t.Setenv("PKCS11SPY_OUTPUT", log)
	spied := "pkcs11:token=build;object=ima?module-path=" + spyModule
	logins := func() int {
		data, err := os.ReadFile(log)
		check(t, err)
		check(t, os.Truncate(log, 0))
		return strings.Count(string(data), ": C_Login\n")
	}
	right := func(context.Context, string) ([]byte, error) { return []byte(pin), nil }
	wrong := func(context.Context, string) ([]byte, error) { return []byte("0000-is-wrong"), nil }

	key, err := pkcs11.New().Open(t.Context(), spied, keystore.Options{Secret: right})
	check(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := sign(t.Context(), key, digestsOf(0, 10))
			check(t, err)
		})
	}
	wg.Wait()
	if n := logins(); n != 1 {
		t.Errorf("%d logins for eight workers", n)
	}

	// The PIN is changed while the key is open. The login after lost sessions is refused,
	// and no signature tries again.
	changePIN(t, h, "another-pin")
	closeAllSessions(t, h)
	for range 5 {
		if _, err := sign(t.Context(), key, digestsOf(0, 1)); !errors.Is(err, keystore.ErrWrongPIN) {
			t.Errorf("got %v", err)
		}
	}
	if n := logins(); n != 1 {
		t.Errorf("%d logins with a PIN that is no longer right", n)
	}
	check(t, key.Close())

	if _, err := pkcs11.New().Open(t.Context(), spied, keystore.Options{Secret: wrong}); !errors.Is(err, keystore.ErrWrongPIN) {
		t.Errorf("got %v", err)
	}
	if n := logins(); n != 1 {
		t.Errorf("%d logins with a wrong PIN", n)
	}
}

// TestTokenRemoved removes the token while a key is open.
func TestTokenRemoved(t *testing.T) {
	h, p := tokenWith(t, "p256")
	key := p.open(t)
	check(t, os.RemoveAll(h.Tokens))
	_, err := sign(t.Context(), key, digestsOf(0, 1))
	if !errors.Is(err, keystore.ErrGone) {
		t.Fatalf("a token that is gone: %v", err)
	}
	if _, err := pkcs11.New().Open(t.Context(), p.uri, p.opts); err == nil {
		t.Error("a token that is gone is opened")
	}
}

// TestAlwaysAuthenticate checks a key that needs its PIN for every signature.
func TestAlwaysAuthenticate(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	pkcs11Tool(t, h, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "ima", "--id", "01", "--always-auth")
	p := &place{backends: keystore.Backends{pkcs11.New()}, uri: h.URI(t, "build", "ima", pin)}
	key := p.open(t)
	sigs, err := sign(t.Context(), key, digestsOf(0, 3))
	check(t, err)
	check(t, key.Public.Verify(content(digestsOf(0, 3)[2]), sigs[2]))
}

// TestImportedKey checks that a key imported with its certificate makes the same signatures as
// the file, and that a warning names a key that can leave the token.
func TestImportedKey(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	keys := harness.Keys(t, "rsa2048")
	path := filepath.Join(keys, "x509_ima.key")
	pkcs11Tool(t, h, "--write-object", path, "--type", "privkey", "--label", "ima", "--id", "01", "--usage-sign", "--extractable")
	pkcs11Tool(t, h, "--write-object", filepath.Join(keys, "x509_ima.der"), "--type", "cert", "--label", "ima", "--id", "01")
	var warned []string
	p := &place{backends: keystore.Backends{pkcs11.New()}, uri: h.URI(t, "build", "ima", pin)}
	p.opts.Warn = func(text string) { warned = append(warned, text) }
	key := p.open(t)
	cert := certificateOf(t, filepath.Join(keys, "x509_ima.crt"))
	if c := key.Public.Certificate(); c == nil || !c.Equal(cert) {
		t.Errorf("the token's certificate is not used: %v", c)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "CKA_EXTRACTABLE") {
		t.Errorf("warnings: %q", warned)
	}
	fromFile := fileKey(t, path)
	a, err := sign(t.Context(), key, digestsOf(0, 1))
	check(t, err)
	b, err := sign(t.Context(), fromFile, digestsOf(0, 1))
	check(t, err)
	if string(a[0]) != string(b[0]) {
		t.Error("RSA signatures of token and file differ")
	}
}
