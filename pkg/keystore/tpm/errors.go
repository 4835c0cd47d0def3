package tpm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// translate returns the error for a TPM's response code (Trusted Platform Module Library,
// part 2, 6.6), with advice and the sentinel of package keystore.
func translate(err error) error {
	var code tpm2.TPMRC
	if !errors.As(err, &code) {
		return err
	}
	for _, m := range meanings() {
		switch {
		case !errors.Is(code, m.code):
			continue
		case strings.Contains(err.Error(), m.advice):
			return err // translated already
		}
		if m.sentinel != nil {
			return fmt.Errorf("%w: %s (%w)", m.sentinel, m.advice, err)
		}
		return fmt.Errorf("%s (%w)", m.advice, err)
	}
	return err
}

type meaning struct {
	code     tpm2.TPMRC
	sentinel error
	advice   string
}

func meanings() []meaning {
	return append([]meaning{
		{tpm2.TPMRCAuthFail, keystore.ErrWrongPIN, "the TPM refused the authorization value, and counts: it was tried once"},
		{tpm2.TPMRCBadAuth, keystore.ErrWrongPIN, "the TPM refused the authorization value; it was tried once"},
		{tpm2.TPMRCLockout, keystore.ErrLocked, "too many wrong authorization values: wait until the TPM forgets them, or run tpm2_dictionarylockout --clear-lockout"},
		{tpm2.TPMRCAuthUnavailable, keystore.ErrKeyUse, "it takes no authorization value, but a policy"},
		{tpm2.TPMRCPolicyFail, keystore.ErrKeyUse, "its policy does not hold"},
		{tpm2.TPMRCAttributes, keystore.ErrKeyUse, "its attributes do not allow it"},
		{tpm2.TPMRCKey, keystore.ErrKeyUse, "it is no key that signs"},
		{tpm2.TPMRCTicket, keystore.ErrKeyUse, "it is a restricted key, which signs only what the TPM itself has digested"},
		{tpm2.TPMRCScheme, keystore.ErrKeyUse, "the key, or the TPM, does not sign in this way"},
		{tpm2.TPMRCHash, ErrHash, "the TPM does not know this one"},
		{tpm2.TPMRCIntegrity, keystore.ErrNotFound, "the key file belongs to another TPM or another parent key, or the TPM was cleared since: use that TPM, or make a new key"},
		{tpm2.TPMRCKeySize, keystore.ErrUnsupportedKey, "the TPM makes no key of this size"},
		{tpm2.TPMRCCurve, keystore.ErrUnsupportedKey, "the TPM does not have this curve"},
		{tpm2.TPMRCInitialize, keystore.ErrGone, "the TPM was not started since it was switched on: tpm2_startup --clear"},
		{tpm2.TPMRCFailure, keystore.ErrGone, "the TPM is in failure mode: reset the machine"},
		{tpm2.TPMRCReboot, keystore.ErrGone, "the TPM wants a restart of the machine"},
	}, shortages()...)
}

func shortages() []meaning {
	return []meaning{
		{tpm2.TPMRCObjectMemory, nil, "all of the TPM's places for keys are taken: use " + defaultDevice + ", or free them with tpm2_flushcontext --transient-object"},
		{tpm2.TPMRCObjectHandles, nil, "all of the TPM's places for keys are taken: use " + defaultDevice + ", or free them with tpm2_flushcontext --transient-object"},
		{tpm2.TPMRCSessionMemory, nil, "all of the TPM's sessions are taken: use " + defaultDevice + ", or free them with tpm2_flushcontext --loaded-session"},
		{tpm2.TPMRCSessionHandles, nil, "all of the TPM's sessions are taken: use " + defaultDevice + ", or free them with tpm2_flushcontext --loaded-session"},
		{tpm2.TPMRCHierarchy, nil, "the hierarchy is disabled"},
		{tpm2.TPMRCNVRate, nil, "the TPM spares its memory: wait, then start again"},
		{tpm2.TPMRCHandle, keystore.ErrNotFound, "there is no object of that handle: tpm2_getcap handles-persistent lists those that there are"},
	}
}

// isLost reports whether loading the key and starting a session again may help, because the
// TPM was reset or another program flushed them.
func isLost(err error) bool {
	for _, code := range []tpm2.TPMRC{tpm2.TPMRCHandle, tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceS0, tpm2.TPMRCContextGap, tpm2.TPMRCValue} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
