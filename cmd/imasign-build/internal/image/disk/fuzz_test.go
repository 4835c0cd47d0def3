package disk_test

import (
	"bytes"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
)

// FuzzRead reads tables in images of 64 MiB, whose first and last 64 KiB are fuzzed.
func FuzzRead(f *testing.F) {
	const part = 64 << 10
	for _, script := range []string{twoGPT, logical, "label: dos\nsize=10MiB\n"} {
		c := made(f, script, 13*mega, 16*mega)
		for _, place := range []int64{13 * mega, 16 * mega} {
			copy(c[0][place/1024:], c[place]) // where an extended partition of few sectors has its tables
		}
		f.Add(c[0][:part], c[size-mega][mega-part:], int64(0))
	}
	f.Add(bytes.Repeat([]byte{0x55, 0xaa}, 256), []byte{}, int64(4096))
	f.Fuzz(func(t *testing.T, head, tail []byte, sector int64) {
		if len(head) > part || len(tail) > part {
			return
		}
		table, err := disk.Read(content{0: head, size - int64(len(tail)): tail}, size, sector)
		if err != nil {
			return
		}
		for _, p := range table.Partitions {
			if p.Start <= 0 || p.Size <= 0 || p.Start+p.Size > size {
				t.Errorf("a partition that is not in the image: %+v", p)
			}
		}
	})
}
