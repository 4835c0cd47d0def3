package protocol

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint says what a log has: so many records, with this Merkle root (RFC 6962) over them.
type Checkpoint struct {
	// Origin is the name of the log, which is also that of its key.
	Origin string
	// Size is the number of records.
	Size int64
	Root tlog.Hash
}

// Text returns the text that the log signs (C2SP tlog-checkpoint).
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// ParseCheckpoint reads the text of a checkpoint. It refuses extension lines: the logs of this
// program have none. Errors wrap [ErrMalformed].
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint has three lines: name, number of records, root", ErrMalformed)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > maxLogSize {
		return Checkpoint{}, fmt.Errorf("%w: the second line of a checkpoint is the number of its records", ErrMalformed)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if c.Text() != text {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint with another spelling of its values", ErrMalformed)
	}
	return c, nil
}

// maxLogSize is far above what a log can have, and far below where sizes of trees overflow.
const maxLogSize = 1 << 48

// OpenCheckpoint verifies a signed checkpoint with the key of a log (golang.org/x/mod/sumdb/note)
// and reads it. Errors wrap [ErrMalformed] or [ErrSignature].
func OpenCheckpoint(signed []byte, key note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return Checkpoint{}, unsignedError(key.Name())
	}
	c, err := ParseCheckpoint(n.Text)
	if err == nil && c.Origin != key.Name() {
		err = fmt.Errorf("%w: the checkpoint is of the log %s, not of %s", ErrMalformed, strconv.Quote(c.Origin), key.Name())
	}
	return c, err
}

// parseHash reads 32 bytes in base64, in their only spelling.
func parseHash(line string) (tlog.Hash, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil || len(raw) != tlog.HashSize || strings.ContainsAny(line, "\r\n") {
		return tlog.Hash{}, fmt.Errorf("%w: not a hash in base64", ErrMalformed)
	}
	return tlog.Hash(raw), nil
}

// unsignedError means that the log with this name did not sign a checkpoint. It is [ErrSignature].
type unsignedError string

// Error names the log.
func (e unsignedError) Error() string {
	return fmt.Sprintf("the checkpoint is not signed by the key of the log %s", string(e))
}

// Is reports whether target is [ErrSignature].
func (e unsignedError) Is(target error) bool { return target == ErrSignature }
