package compress

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

// TestZerosBehindEveryEnd appends zeros to compressed streams, until some of the streams
// ended in zeros of their own and some did not.
func TestZerosBehindEveryEnd(t *testing.T) {
	for _, c := range []Format{Gzip, Bzip2, LZ4} {
		ownZeros := false
		for size := range 150 {
			text := compressible(size + 1)
			var whole bytes.Buffer
			z, err := Archives().Writer(t.Context(), &whole, c, 1)
			check(t, err)
			_, err = z.Write(text)
			check(t, err)
			check(t, z.Close())
			ownZeros = ownZeros || bytes.HasSuffix(whole.Bytes(), []byte{0})
			for _, zeros := range []int{0, 4} {
				behind := append(bytes.Clone(whole.Bytes()), make([]byte, zeros)...)
				content, stop, err := Archives().Reader(bufio.NewReader(bytes.NewReader(behind)), c)
				check(t, err)
				back, err := io.ReadAll(content)
				stop()
				if err != nil || !bytes.Equal(back, text) {
					t.Fatalf("%s: %d bytes, %d zeros: %v", c, len(text), zeros, err)
				}
			}
		}
		if !ownZeros && c != LZ4 {
			t.Errorf("%s: no stream ended in a zero", c)
		}
	}
}
