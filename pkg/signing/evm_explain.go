package signing

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/imasign/imasign-build/pkg/ima"
)

// maxExplained limits how many values of a run are explained, which takes some
// milliseconds each.
const maxExplained = 1000

// explainer adds to the errors of a run what invalidated a signature.
type explainer struct {
	trust     *Trust
	explained atomic.Int64 // number of values
}

// explain adds to err, if possible, what invalidated raw, a signature of the stage.
func (x *explainer) explain(s *stage, raw []byte, e *Entry, before []Value, err error) error {
	if s.explain == nil || !errors.Is(err, ima.ErrDigestMismatch) && !errors.Is(err, ima.ErrBadSignature) || x.explained.Add(1) > maxExplained {
		return err
	}
	value, _ := ima.Parse(raw) // err is not about its form
	form, _ := s.Form(e, before)
	form = accepted(form, &value)
	why := s.explain(value.Hash, e, before, func(digest []byte) bool {
		_, err := x.trust.ring(s.Xattr).Verify(raw, ima.Statement{Form: form, Hash: value.Hash, Digest: digest})
		return err == nil
	})
	if why == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, why)
}

// explain finds out what changed since the metadata was signed. signed reports whether the
// signature is over a digest. It is tried with metadata that differs in one thing from what
// the file has now. explain returns "" if no such metadata was signed.
func (m *metadata) explain(h ima.HashID, signed func(digest []byte) bool) string {
	was := func(change func(*metadata)) bool {
		old := metadata{m.EVMMetadata, m.xattrs}
		change(&old)
		digest, err := old.digest(h)
		return err == nil && signed(digest)
	}
	for _, target := range []ima.EVMTarget{{}, {Bits32: true}, {BigEndian: true}, {Bits32: true, BigEndian: true}} {
		if target != m.EVMTarget && was(func(old *metadata) { old.EVMTarget = target }) {
			return fmt.Sprintf("it was signed for %s kernels, not for %s ones", target, m.EVMTarget)
		}
	}
	for _, mode := range modes(m.Mode) {
		if was(func(old *metadata) { old.Mode = mode }) {
			return fmt.Sprintf("its mode is %04o, and was %04o when it was signed", m.Mode&0o7777, mode&0o7777)
		}
	}
	for _, owner := range [][2]uint32{{0, 0}, {0, m.GID}, {m.UID, 0}, {1000, 1000}, {m.UID, m.UID}} {
		if was(func(old *metadata) { old.UID, old.GID = owner[0], owner[1] }) {
			return fmt.Sprintf("its owner is %d:%d, and was %d:%d when it was signed", m.UID, m.GID, owner[0], owner[1])
		}
	}
	for _, name := range ima.EVMXattrs() {
		value, there := m.xattrs[name]
		if !there || name == ima.XattrIMA {
			continue
		}
		delete(m.xattrs, name)
		if was(func(*metadata) {}) {
			return "it had no " + name + " when it was signed"
		}
		m.xattrs[name] = value
	}
	return ""
}

// modes returns likely former modes of a file with this st_mode: with other special bits,
// and with common permissions.
func modes(mode uint16) (list []uint16) {
	permissions := []uint16{
		mode & 0o777, 0o755, 0o644, 0o711, 0o700, 0o600, 0o750, 0o640, 0o555, 0o444, 0o775, 0o664, 0o777, 0o666, 0o550,
		0o500, 0o440, 0o400, 0o744, 0o511, 0o660, 0o770,
	}
	for special := range uint16(8) {
		for _, p := range permissions {
			list = append(list, regular|special<<9|p)
		}
	}
	return list
}
