package compress

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os/exec"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mikelolasagasti/xz"

	"github.com/imasign/imasign-build/tests/harness"
)

// Decompressors read what strangers wrote. Each target checks that a decoder does not
// panic, ends, takes no more memory than it is allowed to, and returns the same content
// however its input is cut. Most accept corrupt data only if a checksum is right too,
// so that the tests of FuzzXZ mend checksums.

// readLimit bounds, in bytes, what a target reads of one input.
const readLimit = 1 << 20

// allowed bounds what reading one input allocates, in bytes: two windows, because a
// decoder may have to grow its buffer, and what two decoders on all cores take.
const allowed = 2*MaxWindow + 64<<20

func FuzzGzip(f *testing.F)  { fuzz(f, Gzip) }
func FuzzBzip2(f *testing.F) { fuzz(f, Bzip2) }
func FuzzZstd(f *testing.F)  { fuzz(f, Zstd) }
func FuzzLZ4(f *testing.F)   { fuzz(f, LZ4) }

func FuzzLZMA(f *testing.F) {
	for _, args := range []string{"-0", "-6", "--lzma1=lc=0,lp=2,pb=1,dict=4KiB"} {
		f.Add(runXZ(f, compressible(3000), "--format=lzma", "-c", args))
	}
	fuzzReaders(f, LZMA, Packages())
}

func fuzz(f *testing.F, format Format) {
	for _, size := range []int{0, 1, 3000} {
		for _, p := range []Profile{Archives(), Initramfs()} {
			var packed bytes.Buffer
			z, err := p.Writer(f.Context(), &packed, format, 1)
			if err == nil {
				_, err = z.Write(compressible(size))
			}
			if err == nil {
				err = z.Close()
			}
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed.Bytes())
			f.Add(append(bytes.Clone(packed.Bytes()), packed.Bytes()...))
			f.Add(append(bytes.Clone(packed.Bytes()), 0, 0, 0, 0, 0, 0, 0, 0))
		}
	}
	fuzzReaders(f, format, Files(), Archives())
}

func fuzzReaders(f *testing.F, format Format, profiles ...Profile) {
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range profiles {
			readBothWays(t, p, format, data)
		}
	})
}

// readBothWays reads data as one piece and byte by byte, and returns the content up to
// readLimit and how reading ended, nil for the end of the data or the limit.
func readBothWays(t *testing.T, p Profile, format Format, data []byte) ([]byte, error) {
	t.Helper()
	before := allocated()
	content, err := readUpTo(t, p, format, bytes.NewReader(data))
	again, errAgain := readUpTo(t, p, format, iotest.OneByteReader(bytes.NewReader(data)))
	// Content before an error may not have passed the branch filter.
	if err == nil && !bytes.Equal(content, again) || (err == nil) != (errAgain == nil) {
		t.Errorf("%d bytes and %v, but byte by byte %d and %v", len(content), err, len(again), errAgain)
	}
	if took := allocated() - before; took > 2*allowed {
		t.Errorf("allocated %d bytes for %d", took, len(data))
	}
	return content, err
}

func readUpTo(t *testing.T, p Profile, format Format, in io.Reader) ([]byte, error) {
	t.Helper()
	z, stop, err := p.Reader(bufio.NewReader(in), format)
	defer stop()
	if err != nil {
		return nil, err
	}
	var content []byte
	for buf, idle := make([]byte, 3000), 0; len(content) < readLimit; {
		n, err := z.Read(buf)
		content = append(content, buf[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return content, nil
		case err != nil:
			return content, err
		case n > 0:
			idle = 0
		default:
			if idle++; idle > 10_000 {
				t.Fatal("reading gets nowhere")
			}
		}
	}
	return content[:readLimit], nil
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// runXZ returns the output of the xz program for in.
func runXZ(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	out, err := tryXZ(t, in, args...)
	if err != nil {
		t.Fatalf("xz %v: %v", args, err)
	}
	return out
}

func tryXZ(t testing.TB, in []byte, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, "xz"), append([]string{"-q"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	out := &limited{}
	cmd.Stdout = out
	err := cmd.Run()
	if len(out.Bytes()) == readLimit {
		err = nil
	}
	return out.Bytes(), err
}

// limited keeps readLimit bytes and then fails.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	n, _ := l.Buffer.Write(b[:min(len(b), readLimit-l.Len())])
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// code returns what the branch filters look for: calls and branches of several machines.
func code(size int) []byte {
	out := compressible(size)
	for i := 0; i+20 < size; i += 32 {
		copy(out[i:], "\xe8\x10\x00\x00\x00")                                       // x86: call
		copy(out[i+8:], "\x10\x00\x00\xeb")                                         // ARM: bl
		copy(out[i+12:], "\x48\x00\x01\x01")                                        // PowerPC: bl
		copy(out[i+16:], [2]string{"\x00\xf0\x10\xf8", "\x40\x00\x00\x10"}[i/32%2]) // Thumb: bl, SPARC: call
	}
	return out
}

// xzFiles are files of every kind that the xz program writes.
func xzFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	add := func(content []byte, args string) {
		files[args] = runXZ(t, content, append(strings.Fields(args), "-c", "-T1")...)
	}
	text, small := code(6000), code(600)
	for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
		add(text, "-6 --check="+check)
		add(nil, "-0 --check="+check)
		add(small, "--block-size=100 --check="+check)
		files["two streams, padded, "+check] = append(append(bytes.Clone(files["-0 --check="+check]), 0, 0, 0, 0), files["-6 --check="+check]...)
	}
	for _, filter := range []string{"x86", "arm", "armthumb", "powerpc", "ia64", "sparc", "delta=dist=1", "delta=dist=256", "arm64"} {
		add(text, "--check=crc32 --"+filter+" --lzma2=dict=4KiB")
		add(small, "--check=none --"+filter+" --lzma2=dict=4KiB")
	}
	add(text, "--check=none --x86 --delta=dist=4 --lzma2=preset=0")
	add(text, "--check=none --delta=dist=2 --delta=dist=3 --arm --lzma2=preset=0")
	add(text, "--check=none --x86=start=16 --lzma2=preset=0")
	for _, options := range []string{"dict=4KiB", "dict=1536MiB,mf=hc3,nice=3", "dict=64MiB,mf=hc3,nice=3", "lc=0,lp=4,pb=4", "lc=4,lp=0,pb=0"} {
		add(small, "--check=none --lzma2="+options)
	}
	return files
}

func FuzzXZ(f *testing.F) {
	for _, file := range xzFiles(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i, data := range [][]byte{data, mendXZ(data)} {
			content, err := readBothWays(t, Files(), XZ, data)
			if err != nil && crc32.ChecksumIEEE(data)%8 != 0 {
				continue // the program takes much longer
			}
			compareWithXZ(t, data, content, err, i == 1)
		}
	})
}

// compareWithXZ compares the result with that of the xz program, which refuses more than
// other decoders unless data is mended.
func compareWithXZ(t *testing.T, data, content []byte, err error, mended bool) {
	t.Helper()
	want, errXZ := tryXZ(t, data, "-dc", "-T1", "--format=xz", "--memlimit-decompress=140MiB")
	switch {
	case err == nil && errXZ != nil && !mended:
	case err == nil && errXZ != nil:
		t.Errorf("%x: %d bytes, which xz refuses", data, len(content))
	case err == nil && !bytes.Equal(content, want):
		t.Errorf("%x: %d bytes, not the %d of xz", data, len(content), len(want))
	case err != nil && errXZ == nil && !errors.Is(err, xz.ErrOptions) && !errors.Is(err, ErrMemory):
		t.Errorf("%x: %v, but xz decompresses it", data, err)
	}
}

// mendXZ makes the checksums and sizes of the first stream right, as far as it can be
// followed: its header, those of its blocks, index and footer. It leaves the checks of the
// content, and drops the streams behind.
func mendXZ(data []byte) []byte {
	const head = 12
	if len(data) < head+4 {
		return data
	}
	b := append([]byte("\xfd7zXZ\x00\x00"), data[7]&15)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:8]))
	b = append(b, data[head:]...)
	checkSize := [...]int{0, 4, 8, 16, 32, 64}[(int(b[7])+2)/3]
	var records []byte
	count, at := 0, head
	for at < len(b) && b[at] != 0 {
		headSize := (int(b[at]) + 1) * 4
		if at+headSize > len(b) {
			return b
		}
		crc := b[at : at+headSize-4]
		binary.LittleEndian.PutUint32(b[at+headSize-4:], crc32.ChecksumIEEE(crc))
		packed, unpacked, ok := sizesOfLZMA2(b[at+headSize:])
		if !ok {
			return b
		}
		records = binary.AppendUvarint(records, uint64(headSize+packed+checkSize))
		records = binary.AppendUvarint(records, uint64(unpacked))
		count++
		end := at + headSize + packed
		padded := (end + 3) &^ 3
		if padded+checkSize > len(b) {
			return b
		}
		clear(b[end:padded])
		at = padded + checkSize
	}
	index := append(binary.AppendUvarint([]byte{0}, uint64(count)), records...)
	index = append(index, make([]byte, -len(index)&3)...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	foot := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), 0, b[7])
	b = append(b[:min(at, len(b))], index...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(foot))
	return append(append(b, foot...), "YZ"...)
}

// sizesOfLZMA2 adds the sizes of the chunks that b begins with, up to the end marker. It
// clears the first byte of every range coder.
func sizesOfLZMA2(b []byte) (packed, unpacked int, ok bool) {
	for packed < len(b) {
		chunk := b[packed:]
		switch control := int(chunk[0]); {
		case control == 0:
			return packed + 1, unpacked, true
		case len(chunk) < 6:
			return 0, 0, false
		case control < 0x80:
			size := int(binary.BigEndian.Uint16(chunk[1:])) + 1
			packed, unpacked = packed+3+size, unpacked+size
		default:
			unpacked += control&0x1f<<16 + int(binary.BigEndian.Uint16(chunk[1:])) + 1
			packed += 5 + int(binary.BigEndian.Uint16(chunk[3:])) + 1
			coder := 5
			if control >= 0xc0 {
				packed++
				coder++
			}
			if coder < len(chunk) {
				chunk[coder] = 0 // the first byte of the range coder, which only xz looks at
			}
		}
	}
	return 0, 0, false
}

// TestXZFiles reads what the xz program writes, in whole and cut at every byte.
func TestXZFiles(t *testing.T) {
	for name, file := range xzFiles(t) {
		content, err := readBothWays(t, Files(), XZ, file)
		compareWithXZ(t, file, content, err, true)
		switch {
		case strings.Contains(name, "arm64"): // the decoder is older
			if !errors.Is(err, xz.ErrOptions) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		case strings.Contains(name, "1536MiB"):
			if !errors.Is(err, ErrMemory) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
		if mended, err := readBothWays(t, Files(), XZ, mendXZ(file)); err != nil && !strings.Contains(name, "streams") || len(mended) > len(content) {
			t.Errorf("%s, mended: %d bytes, %v", name, len(mended), err)
		}
		for cut := range file {
			if cut > 60 && cut < len(file)-120 && cut%67 != 0 {
				continue
			}
			start := bytes.TrimRight(file[:cut], "\x00")
			between := bytes.HasSuffix(start, []byte("YZ")) // two streams, where each four zeros are whole
			_, err := readUpTo(t, Files(), XZ, bytes.NewReader(file[:cut]))
			if (err == nil) != (between && cut%4 == 0) || !between && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut at %d of %d: %v", name, cut, len(file), err)
			}
		}
	}
}
