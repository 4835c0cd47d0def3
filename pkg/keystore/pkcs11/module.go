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

// New returns the backend for pkcs11: URIs; no module is loaded yet. A module may be
// initialised once a process, so a program has one of it, which shares modules between
// all its keys. It is safe for concurrent use.
//
// The PIN comes from the URI's pin-source, else from Options.Secret. A new key's label
// is the URI's object, or the Request's name; it is sensitive, cannot be extracted, and
// only signs.
//
// Errors wrap [ErrURI] or the sentinels of package keystore: ErrNotFound,
// ErrSeveralKeys, ErrPINNeeded, ErrWrongPIN, ErrLocked, ErrGone, ErrKeyUse,
// ErrUnsupportedKey, ErrCertificateMismatch; Generate's, too, ErrExists.
func New() keystore.Backend {
	s := &store{modules: map[string]*module{}}
	return keystore.Backend{Scheme: "pkcs11", Open: s.open, Generate: s.generate}
}

// Available reports whether this program has PKCS#11.
func Available() bool { return true }

// module is a shared library. It stays mapped when the last key is closed: some
// do not survive being unloaded.
type module struct {
	*p11.Ctx
	checked *cryptoki.Module // what the answers to which are checked goes through it
	path    string
	keys    int
	foreign bool // somebody else in this process initialised it, and will finalize it
}

// acquire loads and initialises the module at path, or shares it.
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
	ctx := p11.New(path) // the same one, which stays loaded
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

// listed joins what there is to choose from.
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

// maxSessions is how many batches are signed at a time where the token does not
// mind: enough to hide a network, few enough to be no burden.
const maxSessions = 16

// grants returns how many sessions the token says that it has left for us.
func grants(info p11.TokenInfo) int {
	// Zero stands for no limit (CK_EFFECTIVELY_INFINITE).
	if info.MaxSessionCount == p11.CK_EFFECTIVELY_INFINITE || info.MaxSessionCount == p11.CK_UNAVAILABLE_INFORMATION {
		return maxSessions
	}
	left := info.MaxSessionCount
	if used := info.SessionCount; used != p11.CK_UNAVAILABLE_INFORMATION {
		left -= min(used, left)
	}
	return int(max(1, min(left, maxSessions))) // at least try
}
