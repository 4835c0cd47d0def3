//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// login logs in to the token of one key. A login is valid for the whole process, so a second
// key in the token needs none.
type login struct {
	*token
	secret keystore.Secret

	mu     sync.Mutex
	pin    []byte // kept for another login if the session is lost; forget overwrites it
	known  bool
	failed error // the token's refusal of the PIN, which is not tried again
}

// enter logs in unless the process is logged in. The PIN is asked for once. A PIN that was
// refused is never tried again.
func (l *login) enter(ctx context.Context, sh p11.SessionHandle) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info.Flags&p11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	state, err := l.GetSessionInfo(sh)
	if err != nil {
		return err
	}
	if state.State == p11.CKS_RO_USER_FUNCTIONS || state.State == p11.CKS_RW_USER_FUNCTIONS {
		return nil
	}
	if err := l.ask(ctx); err != nil {
		return err
	}
	err = answer(l.checked.Login(uint(sh), p11.CKU_USER, l.pin))
	if errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil
	}
	return l.refused(err)
}

// again logs in for one signature, as a key with CKA_ALWAYS_AUTHENTICATE requires after
// C_SignInit.
func (l *login) again(ctx context.Context, sh p11.SessionHandle) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ask(ctx); err != nil {
		return err
	}
	return l.refused(answer(l.checked.Login(uint(sh), p11.CKU_CONTEXT_SPECIFIC, l.pin)))
}

func (l *login) refused(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("log in to %s: %w", l.token, translate(err))
	if errors.Is(err, keystore.ErrWrongPIN) || errors.Is(err, keystore.ErrLocked) {
		l.failed = err
	}
	return err
}

// ask gets the PIN unless it is known. The caller holds l.mu.
func (l *login) ask(ctx context.Context) error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.known:
		return nil
	}
	if err := l.mayAsk(); err != nil {
		return err
	}
	pin, err := l.secret(ctx, fmt.Sprintf("PIN of token %q", l.info.Label))
	if err != nil {
		clear(pin)
		return fmt.Errorf("PIN of %s: %w", l.token, err)
	}
	l.pin, l.known = pin, true
	return nil
}

// mayAsk checks the token's flags before a PIN is tried.
func (l *login) mayAsk() error {
	info, err := l.GetTokenInfo(l.slot)
	if err != nil {
		return translate(err)
	}
	if err := takesPIN(info.Flags); err != nil {
		return fmt.Errorf("%s: %w", l.token, err)
	}
	if l.secret == nil {
		return fmt.Errorf("%s: %w", l.token, keystore.ErrPINNeeded)
	}
	return nil
}

// takesPIN checks a token's flags (PKCS#11 2.40, 3.2, CK_TOKEN_INFO).
func takesPIN(flags uint) error {
	switch {
	case flags&p11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: its security officer sets a new PIN", keystore.ErrLocked)
	case flags&p11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("all but %w: one more wrong PIN locks it: log in with the token's own tool first", keystore.ErrLocked)
	case flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH != 0:
		return errors.New("it takes its PIN at a keypad of its own, which is not supported")
	}
	return nil
}

// forget overwrites the PIN.
func (l *login) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.pin)
	l.pin, l.known = nil, false
	l.failed = keystore.ErrClosed
}

// session is a session with the handle of the key in it.
type session struct {
	handle p11.SessionHandle
	key    p11.ObjectHandle
	open   bool
}

const (
	readOnly  = p11.CKF_SERIAL_SESSION
	readWrite = p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION
)

// connect opens a session and logs in.
func (l *login) connect(ctx context.Context, flags uint) (p11.SessionHandle, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	sh, err := l.OpenSession(l.slot, flags)
	if err != nil {
		return 0, fmt.Errorf("open a session with %s: %w", l.token, translate(err))
	}
	if err := l.enter(ctx, sh); err != nil {
		_ = l.CloseSession(sh) // err is the first error
		return 0, err
	}
	return sh, nil
}
