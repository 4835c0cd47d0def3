package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/fsverity"
)

// Verity are the parameters of an fs-verity digest, beside its hash. A device must enable
// fs-verity on the file with the same parameters.
type Verity struct {
	BlockSize int    // in bytes: a power of two from 1024 to 65536
	Salt      []byte // at most 32 bytes
}

// DefaultVerity returns the parameters that the fsverity program uses unless it is told
// otherwise: blocks of 4096 bytes and no salt.
func DefaultVerity() Verity { return Verity{BlockSize: fsverity.DefaultBlockSize} }

// String returns the parameters in words, such as "blocks of 4096 bytes and no salt".
func (v Verity) String() string {
	if len(v.Salt) == 0 {
		return fmt.Sprintf("blocks of %d bytes and no salt", v.BlockSize)
	}
	return fmt.Sprintf("blocks of %d bytes and the salt %x", v.BlockSize, v.Salt)
}

// Equal reports whether v and o are the same parameters.
func (v Verity) Equal(o Verity) bool {
	return v.BlockSize == o.BlockSize && bytes.Equal(v.Salt, o.Salt)
}

type verityJSON struct {
	BlockSize int    `json:"block_size"`
	Salt      string `json:"salt,omitempty"`
}

func (v *Verity) toJSON() *verityJSON {
	if v == nil {
		return nil
	}
	return &verityJSON{v.BlockSize, hex.EncodeToString(v.Salt)}
}

func (j *verityJSON) verity() (*Verity, error) {
	if j == nil {
		return nil, nil
	}
	salt, err := parseHex(j.Salt)
	if err != nil {
		return nil, fmt.Errorf("verity: salt: %w", err)
	}
	return &Verity{j.BlockSize, salt}, nil
}

// checkVerity returns an error for parameters that no kernel accepts, and for a line that
// cannot have an fs-verity digest.
func (l *Line) checkVerity() error {
	switch {
	case l.Verity == nil:
		return nil
	case l.Kind != "file":
		return fmt.Errorf("verity: a line of kind %q has none", l.Kind)
	case len(l.Digest) == 0:
		return errors.New("verity: the line has no digest")
	}
	h, _ := l.Hash.CryptoHash()
	if err := (fsverity.Parameters{Hash: h, BlockSize: l.Verity.BlockSize, Salt: l.Verity.Salt}).Check(); err != nil {
		return fmt.Errorf("verity: %w", err)
	}
	return nil
}
