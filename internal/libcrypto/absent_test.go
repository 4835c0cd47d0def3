//go:build !cgo || !linux

package libcrypto

import (
	"errors"
	"testing"
)

func TestAbsent(t *testing.T) {
	if _, err := Load(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
