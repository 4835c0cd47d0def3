//go:build cgo

package pkcs11

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/internal/cryptoki"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// store shares modules between keys.
type store struct {
	mu      sync.Mutex
	modules map[string]*module
}

// New returns the backend for pkcs11: URIs. It loads no module yet. A program needs one
// backend: a module may be initialised only once per process, and the backend shares it
// between keys. The backend is safe for concurrent use.
//
// The PIN comes from the URI's pin-source, or from Options.Secret. The label of a new key is
// the URI's object, or the name in the Request. A new key is sensitive, cannot be extracted,
// and only signs.
//
// Errors wrap [ErrURI] or the sentinels of package keystore: ErrNotFound,
// ErrSeveralKeys, ErrPINNeeded, ErrWrongPIN, ErrLocked, ErrGone, ErrKeyUse,
// ErrUnsupportedKey, ErrCertificateMismatch. Errors of Generate may also wrap ErrExists.
func New() keystore.Backend {
	s := &store{modules: map[string]*module{}}
	return keystore.Backend{Scheme: "pkcs11", Open: s.open, Generate: s.generate}
}

// Available reports whether this program has PKCS#11.
func Available() bool { return true }

// module is a shared library. It stays mapped after the last key is closed, because some
// modules crash when they are unloaded.
type module struct {
	*p11.Ctx
	checked *cryptoki.Module // for calls whose answers are checked
	path    string
	keys    int
	foreign bool // another part of this process initialised it, and finalizes it
}

// acquire returns the module at path. The first call loads and initialises it.
func (s *store) acquire(path string) (*module, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.load(path)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 module %s: %w", path, err)
	}
	if m.keys == 0 {
		err := m.Initialize()
		m.foreign = errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED))
		if err != nil && !m.foreign {
			return nil, fmt.Errorf("PKCS#11 module %s: initialise: %w", path, translate(err))
		}
	}
	m.keys++
	return m, nil
}

func (s *store) load(path string) (*module, error) {
	if m := s.modules[path]; m != nil {
		return m, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no such file; is the token's software installed?", keystore.ErrNotFound)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: it is no file", keystore.ErrNotFound)
	}
	checked, err := cryptoki.Load(path)
	switch {
	case errors.Is(err, cryptoki.ErrNothing):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: it is %w (ldd %s)", keystore.ErrNotFound, err, path)
	}
	ctx := p11.New(path) // the library that is loaded already
	if ctx == nil {
		return nil, fmt.Errorf("%w: it is %w (ldd %s)", keystore.ErrNotFound, cryptoki.ErrNoModule, path)
	}
	m := &module{Ctx: ctx, checked: checked, path: path}
	s.modules[path] = m
	return m, nil
}

func (s *store) release(m *module) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.keys--; m.keys > 0 || m.foreign {
		return nil
	}
	if err := m.Finalize(); err != nil {
		return fmt.Errorf("PKCS#11 module %s: finalize: %w", m.path, translate(err))
	}
	return nil
}

func (m *module) slots() ([]uint, error) {
	slots, code, err := m.checked.Slots()
	return slots, errors.Join(err, answer(code))
}

// answer is the error of a return value, nil for CKR_OK.
func answer(code uint) error {
	if code == p11.CKR_OK {
		return nil
	}
	return p11.Error(code)
}

// token is a token in its slot.
type token struct {
	*module
	slot uint
	info p11.TokenInfo
}

// find returns the one token that l names.
func (m *module) find(l *location) (*token, error) {
	slots, err := m.slots()
	if err != nil {
		return nil, fmt.Errorf("list the slots of %s: %w", m.path, translate(err))
	}
	var found []*token
	var others []string
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		if err != nil || info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 {
			continue // removed since, or empty
		}
		t := &token{m, slot, info}
		if l.matches(t) {
			found = append(found, t)
		} else {
			others = append(others, t.String())
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: token %w: %s has %s", l, keystore.ErrNotFound, m.path, listed(others))
	case 1:
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, t := range found {
		names[i] = t.String()
	}
	return nil, fmt.Errorf("%s: several tokens match: %s: add serial=", l, listed(names))
}

func (l *location) matches(t *token) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(l.token, t.info.Label) && same(l.manufacturer, t.info.ManufacturerID) && same(l.model, t.info.Model) &&
		same(l.serial, t.info.SerialNumber) && (l.slot == nil || *l.slot == t.slot)
}

func (t *token) String() string {
	return fmt.Sprintf("token %q (serial %s)", t.info.Label, t.info.SerialNumber)
}

// listed joins names for an error.
func listed(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > 10:
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// maxSessions is how many batches are signed at a time if the token allows it: enough to
// hide the latency of a network, without overloading the token.
const maxSessions = 16

// grants returns how many more sessions the token allows.
func grants(info p11.TokenInfo) int {
	// Zero stands for no limit (CK_EFFECTIVELY_INFINITE).
	if info.MaxSessionCount == p11.CK_EFFECTIVELY_INFINITE || info.MaxSessionCount == p11.CK_UNAVAILABLE_INFORMATION {
		return maxSessions
	}
	left := info.MaxSessionCount
	if used := info.SessionCount; used != p11.CK_UNAVAILABLE_INFORMATION {
		left -= min(used, left)
	}
	return int(max(1, min(left, maxSessions))) // try one in any case
}
