package disk_test

import (
	"bytes"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
)

// An MBR with one partition of 100 sectors that begins at sector 8.
func Example() {
	image := make([]byte, 108*512)
	copy(image[446:], []byte{0x80, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 100, 0, 0, 0})
	copy(image[510:], "\x55\xaa")

	table, err := disk.Read(bytes.NewReader(image), int64(len(image)), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range table.Partitions {
		fmt.Printf("%s partition %d: %d bytes at byte %d, %s\n", table.Kind, p.Number, p.Size, p.Start, p.TypeName)
	}
	// Output:
	// MBR partition 1: 51200 bytes at byte 4096, Linux
}
