package tpm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestTranslate checks response codes that contain the number of a parameter or session.
func TestTranslate(t *testing.T) {
	for code, want := range map[tpm2.TPMRC]struct {
		is   error
		says string
	}{
		0x98e: {keystore.ErrWrongPIN, "counts"}, // TPM_RC_AUTH_FAIL, session 1
		0x9a2: {keystore.ErrWrongPIN, "once"},   // TPM_RC_BAD_AUTH, session 1
		0x921: {keystore.ErrLocked, "tpm2_dictionarylockout"},
		0x1df: {keystore.ErrNotFound, "another TPM"}, // TPM_RC_INTEGRITY, parameter 1
		0x100: {keystore.ErrGone, "tpm2_startup"},
		0x2c3: {ErrHash, "does not know"}, // TPM_RC_HASH, parameter 2
		0x902: {nil, "tpm2_flushcontext"}, // TPM_RC_OBJECT_MEMORY
	} {
		err := translate(fmt.Errorf("sign: %w", code))
		if want.is != nil && !errors.Is(err, want.is) || !errors.Is(err, code) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%#x: %v", uint32(code), err)
		}
	}
	other := errors.New("no response code")
	if got := translate(other); !errors.Is(got, other) || translate(nil) != nil {
		t.Errorf("what is no response code: %v", got)
	}
}
