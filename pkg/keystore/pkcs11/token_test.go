//go:build cgo

package pkcs11

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/keystore"
)

func TestGrants(t *testing.T) {
	for _, c := range []struct {
		limit, used uint
		want        int
	}{
		{p11.CK_EFFECTIVELY_INFINITE, 0, maxSessions},
		{p11.CK_UNAVAILABLE_INFORMATION, p11.CK_UNAVAILABLE_INFORMATION, maxSessions},
		{4, 0, 4}, {4, 3, 1}, {4, 4, 1}, {4, 9, 1}, {1000, 0, maxSessions}, {3, p11.CK_UNAVAILABLE_INFORMATION, 3},
	} {
		if got := grants(p11.TokenInfo{MaxSessionCount: c.limit, SessionCount: c.used}); got != c.want {
			t.Errorf("%d of %d sessions in use: %d, want %d", c.used, c.limit, got, c.want)
		}
	}
}

func TestTranslate(t *testing.T) {
	for code, want := range map[uint]error{
		p11.CKR_PIN_INCORRECT: keystore.ErrWrongPIN, p11.CKR_PIN_LOCKED: keystore.ErrLocked, p11.CKR_DEVICE_REMOVED: keystore.ErrGone,
		p11.CKR_TOKEN_NOT_PRESENT: keystore.ErrGone, p11.CKR_MECHANISM_INVALID: keystore.ErrKeyUse,
	} {
		err := translate(fmt.Errorf("sign: %w", p11.Error(code)))
		if !errors.Is(err, want) || !errors.Is(err, p11.Error(code)) {
			t.Errorf("%#x: %v, want %v", code, err, want)
		}
	}
	other := errors.New("no return value")
	if got := translate(other); !errors.Is(got, other) || got.Error() != other.Error() || translate(nil) != nil {
		t.Error("what is no return value is translated")
	}
}

func TestTakesPIN(t *testing.T) {
	for flags, locked := range map[uint]bool{
		p11.CKF_USER_PIN_LOCKED: true, p11.CKF_USER_PIN_FINAL_TRY | p11.CKF_USER_PIN_COUNT_LOW: true, p11.CKF_PROTECTED_AUTHENTICATION_PATH: false,
	} {
		if err := takesPIN(flags | p11.CKF_LOGIN_REQUIRED); err == nil || errors.Is(err, keystore.ErrLocked) != locked {
			t.Errorf("flags %#x: %v", flags, err)
		}
	}
	if err := takesPIN(p11.CKF_LOGIN_REQUIRED | p11.CKF_USER_PIN_COUNT_LOW); err != nil {
		t.Error(err)
	}
}

func TestParsePointRefuses(t *testing.T) {
	p256 := []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}
	for name, c := range map[string]struct{ params, point []byte }{
		"explicit parameters": {[]byte{0x30, 0}, []byte{4}},
		"no point":            {p256, []byte{4, 1, 4}},
		"bytes behind":        {append([]byte{}, append(p256, 0)...), []byte{4}},
		"unknown curve":       {[]byte{6, 1, 42}, []byte{4}},
	} {
		if _, err := parsePoint(c.params, c.point); !errors.Is(err, keystore.ErrUnsupportedKey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKindsOfKeys(t *testing.T) {
	for kind, says := range map[uint64]string{0: "", 3: "", 0x4a: "ML-DSA", 0x40: "key type 0x40"} {
		err := checkKind(kind)
		if (err == nil) != (says == "") || err != nil && (!errors.Is(err, keystore.ErrUnsupportedKey) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%#x: %v", kind, err)
		}
	}
}
