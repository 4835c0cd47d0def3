package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Record is a decoded entry of a log.
type Record struct {
	Index int64
	protocol.Record

	Details *protocol.Details
}

// Decode reads an entry. It compares the details with the digest in the record, and the leaves
// with the root in the record.
func Decode(e *translog.Entry) (*Record, error) {
	record, err := protocol.DecodeRecord(e.Record)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(e.Details); !bytes.Equal(sum[:], record.Details) {
		return nil, fmt.Errorf("its details are not those that the record states")
	}
	details, err := protocol.DecodeDetails(e.Details)
	if err != nil {
		return nil, fmt.Errorf("its details: %w", err)
	}
	r := &Record{e.Index, *record, details}
	return r, r.check()
}

// Leaves returns the leaves of the batch.
func (r *Record) Leaves() []tlog.Hash {
	leaves := make([]tlog.Hash, 0, len(r.Details.Leaves)/tlog.HashSize)
	for rest := r.Details.Leaves; len(rest) >= tlog.HashSize; rest = rest[tlog.HashSize:] {
		leaves = append(leaves, tlog.Hash(rest[:tlog.HashSize]))
	}
	return leaves
}

// Granted reports whether the service signed.
func (r *Record) Granted() bool { return r.Refusal == "" }

func (r *Record) check() error {
	leaves := r.Leaves()
	if !r.Granted() {
		if len(leaves) > 0 {
			return fmt.Errorf("it is of a refusal, and has %d signatures", len(leaves))
		}
		return nil
	}
	size := ima.HashID(r.Hash).Size()
	if root := protocol.Root(leaves); !bytes.Equal(root[:], r.Root) {
		return fmt.Errorf("its leaves are not those of its root")
	}
	if uint64(len(leaves)) != r.Digests || len(r.Details.Digests) != size*len(leaves) {
		return fmt.Errorf("it states %d digests, and has %d bytes of digests and %d signatures", r.Digests, len(r.Details.Digests), len(leaves))
	}
	return nil
}
