package protocol

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed means that bytes are not a message of the protocol.
var ErrMalformed = errors.New("not a valid message")

// encode returns the only encoding of a message.
func encode(message any) ([]byte, error) {
	options := cbor.CoreDetEncOptions()
	options.NilContainers = cbor.NilContainerAsEmpty
	mode, err := options.EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(message)
}

// decode reads a message of at most limit bytes. Errors wrap [ErrMalformed].
func decode(data []byte, limit int, message any) error {
	if len(data) > limit {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrMalformed, len(data), limit)
	}
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxPairs,
		MaxNestedLevels:   maxNested,
	}.DecMode()
	if err != nil {
		return err
	}
	if err := mode.Unmarshal(data, message); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encode(message)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: it is not in the core deterministic encoding", ErrMalformed)
	}
	return nil
}
