//go:build cgo

package pkcs11

import (
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// translate returns the error for the return value of a module (PKCS#11 2.40, 5.1), with
// advice and the sentinel of package keystore.
func translate(err error) error {
	var code p11.Error
	if !errors.As(err, &code) {
		return err
	}
	advice, sentinel := meaning(uint(code))
	switch {
	case sentinel != nil && advice != "":
		return fmt.Errorf("%w: %s (%w)", sentinel, advice, err)
	case advice != "":
		return fmt.Errorf("%s (%w)", advice, err)
	}
	return err
}

func meaning(code uint) (advice string, sentinel error) {
	switch code {
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE:
		return "the token refused it, and counts; it was tried once", keystore.ErrWrongPIN
	case p11.CKR_PIN_LOCKED:
		return "too many wrong PINs: the token's security officer sets a new one", keystore.ErrLocked
	case p11.CKR_USER_NOT_LOGGED_IN:
		return "the token wants a login", keystore.ErrPINNeeded
	case p11.CKR_PIN_EXPIRED:
		return "the PIN has expired: set a new one with the token's own tool", keystore.ErrLocked
	case p11.CKR_USER_PIN_NOT_INITIALIZED:
		return "the token has no user PIN yet: its security officer sets one", keystore.ErrLocked
	case p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_DEVICE_REMOVED, p11.CKR_SLOT_ID_INVALID:
		return "the token was removed: put it back and start again", keystore.ErrGone
	case p11.CKR_DEVICE_ERROR, p11.CKR_TOKEN_NOT_RECOGNIZED, p11.CKR_DEVICE_MEMORY:
		return "the token does not answer as it should: look at its own log", keystore.ErrGone
	case p11.CKR_KEY_FUNCTION_NOT_PERMITTED:
		return "its CKA_SIGN is false", keystore.ErrKeyUse
	case p11.CKR_MECHANISM_INVALID, p11.CKR_KEY_TYPE_INCONSISTENT, p11.CKR_MECHANISM_PARAM_INVALID:
		return "the token has not the mechanism for it (CKM_RSA_PKCS, CKM_ECDSA)", keystore.ErrKeyUse
	case p11.CKR_KEY_SIZE_RANGE, p11.CKR_CURVE_NOT_SUPPORTED, p11.CKR_ATTRIBUTE_VALUE_INVALID:
		return "the token takes no key of this size or curve", keystore.ErrUnsupportedKey
	case p11.CKR_DATA_LEN_RANGE, p11.CKR_DATA_INVALID:
		return "the token takes no digest of this size with this key", keystore.ErrKeyUse
	case p11.CKR_TOKEN_WRITE_PROTECTED, p11.CKR_SESSION_READ_ONLY:
		return "the token is write-protected", keystore.ErrKeyUse
	}
	return adviceOnly(code), nil
}

func adviceOnly(code uint) string {
	switch code {
	case p11.CKR_SESSION_COUNT:
		return "the token grants no further session: end other programs that use it"
	case p11.CKR_CANT_LOCK:
		return "the module cannot be used by several threads"
	case p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN:
		return "somebody else, such as the security officer, is logged in"
	case p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED, p11.CKR_HOST_MEMORY:
		return "the module failed and does not say why: look at its own log and configuration"
	case p11.CKR_TEMPLATE_INCONSISTENT, p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_TEMPLATE_INCOMPLETE:
		return "the token takes no object with these attributes"
	}
	return ""
}

// isLost reports whether a new session and login may help, because the token was reset or
// its sessions were closed.
func isLost(err error) bool {
	for _, code := range []p11.Error{
		p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_USER_NOT_LOGGED_IN,
		p11.CKR_KEY_HANDLE_INVALID, p11.CKR_OBJECT_HANDLE_INVALID,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
