package translog

import (
	"encoding/binary"
	"errors"

	"golang.org/x/mod/sumdb/tlog"
)

// prefixSize is how many bytes of each leaf the file leaves has.
const prefixSize = 8

var errDetails = errors.New("not the details of a record")

// leavesOf returns the leaves in encoded details, one after the other. Only this part is
// read: decoding a thousand claims strictly costs more than everything else that is done for a
// record. In the deterministic encoding, the keys of the map are in order.
func leavesOf(details []byte) ([]byte, error) {
	major, pairs, rest, ok := head(details)
	if !ok || major != 5 {
		return nil, errDetails
	}
	for range pairs {
		var key, length uint64
		if major, key, rest, ok = head(rest); !ok || major != 0 {
			return nil, errDetails
		}
		if key > 3 {
			return nil, nil
		}
		if major, length, rest, ok = head(rest); !ok || (key == 1) != (major == 0) {
			return nil, errDetails
		}
		if key == 1 {
			continue
		}
		if major != 2 || length > uint64(len(rest)) {
			return nil, errDetails
		}
		if key == 3 {
			if length%tlog.HashSize != 0 {
				return nil, errDetails
			}
			return rest[:length:length], nil
		}
		rest = rest[length:]
	}
	return nil, nil
}

// head reads the head of an item of CBOR: its major type and its argument.
func head(data []byte) (major byte, argument uint64, rest []byte, ok bool) {
	if len(data) == 0 {
		return 0, 0, nil, false
	}
	major, short := data[0]>>5, data[0]&31
	if short < 24 {
		return major, uint64(short), data[1:], true
	}
	if short > 27 || len(data) < 1+1<<(short-24) {
		return 0, 0, nil, false
	}
	size := 1 << (short - 24)
	var wide [8]byte
	copy(wide[8-size:], data[1:1+size])
	return major, binary.BigEndian.Uint64(wide[:]), data[1+size:], true
}

// appendPrefixes appends the beginning of each leaf.
func appendPrefixes(dst, leaves []byte) []byte {
	for ; len(leaves) >= tlog.HashSize; leaves = leaves[tlog.HashSize:] {
		dst = append(dst, leaves[:prefixSize]...)
	}
	return dst
}
