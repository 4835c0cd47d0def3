package protocol

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed means that bytes are not a message of the protocol.
var ErrMalformed = errors.New("not a valid message")

// message is what is encoded and decoded. check refuses values that no message has, so that
// everything that is encoded can also be decoded. Its errors wrap [ErrMalformed].
type message interface{ check() error }

// encode returns the only encoding of a message, at most limit bytes. Errors wrap
// [ErrMalformed].
func encode(m message, limit int) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	data, err := marshal(m)
	if err != nil {
		return nil, err
	}
	return data, checkSizeOf(data, limit)
}

func marshal(m any) ([]byte, error) {
	options := cbor.CoreDetEncOptions()
	options.NilContainers = cbor.NilContainerAsEmpty
	mode, err := options.EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(m)
}

// decode reads a message of at most limit bytes. Errors wrap [ErrMalformed].
func decode(data []byte, limit int, m message) error {
	if err := unmarshal(data, limit, maxElements, m); err != nil {
		return err
	}
	return m.check()
}

// unmarshal reads one item of CBOR. Its arrays have at most as many elements as given. Before
// anything is allocated, the whole item is found to be well-formed, so a length in it is never
// more than the bytes that are there. Whatever the decoder tolerates (null, other widths of
// integers, another order of keys) differs from the encoding of what was read, and is refused.
func unmarshal(data []byte, limit, elements int, to any) error {
	if err := checkSizeOf(data, limit); err != nil {
		return err
	}
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  elements,
		MaxMapPairs:       maxPairs,
		MaxNestedLevels:   maxNested,
	}.DecMode()
	if err != nil {
		return err
	}
	if err := mode.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := marshal(to)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: it is not in the core deterministic encoding", ErrMalformed)
	}
	return nil
}
