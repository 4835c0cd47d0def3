package imagetree

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Mutation is a damaged image. It is an io.ReaderAt.
type Mutation struct {
	base    []byte
	patches []patch
	Size    int64 // in bytes; less than before if the image was cut
}

type patch struct {
	at   int
	data []byte
}

func (m *Mutation) String() string {
	var b bytes.Buffer
	for _, p := range m.patches {
		fmt.Fprintf(&b, "%x at %#x; ", p.data, p.at)
	}
	fmt.Fprintf(&b, "%d bytes", m.Size)
	return b.String()
}

// Whole returns an image without any damage.
func Whole(base []byte) *Mutation { return &Mutation{base: base, Size: int64(len(base))} }

// ReadAt reads the damaged image.
func (m *Mutation) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(m.base[:m.Size]).ReadAt(p, off)
	for _, x := range m.patches {
		from, to := max(int64(x.at), off), min(int64(x.at+len(x.data)), off+int64(n))
		if from < to {
			copy(p[from-off:to-off], x.data[from-int64(x.at):])
		}
	}
	return n, err
}

// line is the unit in which the places that are not zero are found.
const line = 64

// NewMutation makes up to six changes, most of them where the image is not zero, and
// sometimes cuts it. The same seed makes the same changes to the same image.
func NewMutation(base []byte, seed uint64) *Mutation {
	random := rand.New(rand.NewPCG(seed, 7))
	var lines []int
	zero := make([]byte, line)
	for at := 0; at+line <= len(base); at += line {
		if !bytes.Equal(base[at:at+line], zero) {
			lines = append(lines, at)
		}
	}
	m := &Mutation{base: base, Size: int64(len(base))}
	for range 1 + random.IntN(6) {
		m.patches = append(m.patches, change(random, base, lines))
	}
	if random.IntN(20) == 0 {
		m.Size = random.Int64N(m.Size)
	}
	return m
}

// place returns an offset: in the first lines, where superblocks are, in the last ones,
// where squashfs has its tables, or anywhere.
func place(random *rand.Rand, lines []int) int {
	const some = 128
	n := len(lines)
	switch random.IntN(4) {
	case 0:
		n = min(n, some)
	case 1:
		lines = lines[max(0, n-some*8):]
		n = len(lines)
	}
	return lines[random.IntN(n)] + random.IntN(line)
}

// change changes some bytes at a place, which is aligned to their number.
func change(random *rand.Rand, base []byte, lines []int) patch {
	at := place(random, lines)
	numbers := []uint64{0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 0xffff, 0x7fff, 0x8000, 1 << 63, random.Uint64()}
	number := numbers[random.IntN(len(numbers))]
	switch random.IntN(6) {
	case 0:
		return patch{at, []byte{base[at] ^ 1<<random.IntN(8)}}
	case 1:
		return patch{at, []byte{byte(number)}}
	case 2:
		return patch{at &^ 1, binary.LittleEndian.AppendUint16(nil, uint16(number))}
	case 3:
		return patch{at &^ 3, binary.LittleEndian.AppendUint32(nil, uint32(number))}
	case 4:
		return patch{at &^ 7, binary.LittleEndian.AppendUint64(nil, number)}
	}
	from := lines[random.IntN(len(lines))]
	return patch{at &^ 31, bytes.Clone(base[from : from+32])}
}
