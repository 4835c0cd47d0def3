package protocol

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that a log has a record, without the log. As text it is a C2SP tlog-proof.
type Proof struct {
	// Index is the position of the record in the log, from 0.
	Index int64
	// Hashes lead from the record to the root of the checkpoint (RFC 6962, section 2.1.1).
	Hashes tlog.RecordProof
	// Checkpoint is the signed checkpoint.
	Checkpoint []byte
}

const (
	proofTitle  = "c2sp.org/tlog-proof@v1"
	proofIndex  = "index "
	maxProof    = 64 << 10
	maxProofLen = 64 // hashes
)

// Text returns the proof as text.
func (p *Proof) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s%d\n", proofTitle, proofIndex, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return b.String()
}

// ParseProof reads a proof. It refuses the line "extra", which the proofs of a signing service
// do not have. The proof is not checked. Errors wrap [ErrMalformed].
func ParseProof(text string) (*Proof, error) {
	if len(text) > maxProof {
		return nil, fmt.Errorf("%w: a proof of %d bytes", ErrMalformed, len(text))
	}
	head, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != proofTitle || len(lines) > 2+maxProofLen {
		return nil, fmt.Errorf("%w: not a proof: its first line must be %s", ErrMalformed, proofTitle)
	}
	number, found := strings.CutPrefix(lines[1], proofIndex)
	index, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || index < 0 || strconv.FormatInt(index, 10) != number {
		return nil, fmt.Errorf("%w: the second line of a proof is the index of its record", ErrMalformed)
	}
	p := &Proof{Index: index, Checkpoint: []byte(checkpoint)}
	for _, line := range lines[2:] {
		h, err := parseHash(line)
		if err != nil {
			return nil, err
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// Check verifies that the log with this key has the encoded record, and returns the checkpoint
// that says so. Errors wrap [ErrMalformed] or [ErrSignature].
func (p *Proof) Check(record []byte, key note.Verifier) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, key)
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Index < 0 || p.Index >= c.Size {
		return Checkpoint{}, fmt.Errorf("%w: a proof of record %d by a checkpoint of %d records", ErrMalformed, p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(record)); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: the proof of record %d of the log %s is of another record", ErrSignature, p.Index, c.Origin)
	}
	return c, nil
}
