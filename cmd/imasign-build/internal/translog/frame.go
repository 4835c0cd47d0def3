package translog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/imasign/imasign-build/internal/protocol"
)

// Layout of the journal; see the comment of the package.
const (
	title           = "imasign-build log journal 1\n"
	kindRecord      = 0x52454331 // "REC1"
	kindCheckpoint  = 0x43484b31 // "CHK1"
	frameHeader     = 20
	frameOverhead   = frameHeader + crc32.Size
	maxCheckpoint   = 4096
	maxOrigin       = 255
	maxJournalIndex = 1 << 48
)

// errFrame means that bytes are no whole, undamaged frame.
var errFrame = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a record with its details, or a signed checkpoint.
type frame struct {
	kind    uint32
	index   int64
	body    []byte
	details []byte
}

func (f *frame) size() int64 { return frameOverhead + int64(len(f.body)) + int64(len(f.details)) }

func (f *frame) header() []byte {
	h := binary.BigEndian.AppendUint32(make([]byte, 0, frameHeader), f.kind)
	h = binary.BigEndian.AppendUint64(h, uint64(f.index))
	h = binary.BigEndian.AppendUint32(h, uint32(len(f.body)))
	return binary.BigEndian.AppendUint32(h, uint32(len(f.details)))
}

// write writes the frame. Errors are those of w.
func (f *frame) write(w io.Writer) error {
	header, sum := f.header(), uint32(0)
	for _, part := range [][]byte{header, f.body, f.details} {
		sum = crc32.Update(sum, castagnoli, part)
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, sum))
	return err
}

// parseHeader reads a frame's header and checks its limits. The frame that it returns has body
// and details of the right length, in buffer if that is large enough.
func parseHeader(header, buffer []byte) (frame, []byte, error) {
	f := frame{kind: binary.BigEndian.Uint32(header), index: int64(binary.BigEndian.Uint64(header[4:]))}
	body, details := int64(binary.BigEndian.Uint32(header[12:])), int64(binary.BigEndian.Uint32(header[16:]))
	fits := false
	switch f.kind {
	case kindRecord:
		fits = body <= protocol.MaxRecord && details <= protocol.MaxDetails
	case kindCheckpoint:
		fits = body <= maxCheckpoint && details == 0
	}
	if !fits || f.index < 0 || f.index > maxJournalIndex {
		return frame{}, buffer, errFrame
	}
	if need := body + details + crc32.Size; int64(cap(buffer)) < need {
		buffer = make([]byte, need)
	}
	f.body, f.details = buffer[:body:body], buffer[body:body+details:body+details]
	return f, buffer, nil
}

// readFrame reads one frame into buffer, which it may replace by a larger one. The frame is
// valid until buffer is used again. At the end of r it returns io.EOF, for a frame that is not
// whole or is damaged errFrame, and otherwise the error of r.
func readFrame(r io.Reader, buffer []byte) (frame, []byte, error) {
	var header [frameHeader]byte
	switch _, err := io.ReadFull(r, header[:]); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return frame{}, buffer, errFrame
	case err != nil:
		return frame{}, buffer, err
	}
	f, buffer, err := parseHeader(header[:], buffer)
	if err != nil {
		return frame{}, buffer, err
	}
	content := buffer[:len(f.body)+len(f.details)+crc32.Size]
	switch _, err := io.ReadFull(r, content); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return frame{}, buffer, errFrame
	case err != nil:
		return frame{}, buffer, err
	}
	end := len(content) - crc32.Size
	sum := crc32.Update(crc32.Checksum(header[:], castagnoli), castagnoli, content[:end])
	if sum != binary.BigEndian.Uint32(content[end:]) {
		return frame{}, buffer, errFrame
	}
	return f, buffer, nil
}

// start returns the bytes at the start of a journal.
func start(origin string) string { return title + origin + "\n" }

// readStart reads the start of a journal and returns the name of the log.
func readStart(r *bufio.Reader) (string, error) {
	head := make([]byte, len(title))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != title {
		return "", fmt.Errorf("%w: not the journal of a log", errFrame)
	}
	var name strings.Builder
	for name.Len() <= maxOrigin {
		switch b, err := r.ReadByte(); {
		case err != nil:
			return "", fmt.Errorf("%w: the journal has no name", errFrame)
		case b == '\n':
			return name.String(), nil
		default:
			name.WriteByte(b)
		}
	}
	return "", fmt.Errorf("%w: the name of the log is too long", errFrame)
}
