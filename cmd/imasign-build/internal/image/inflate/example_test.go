package inflate_test

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/inflate"
)

func ExampleDecoder_Decode() {
	src := []byte("\x4b\x4c\x4a\x4e\x84\x21\x00")
	dst := make([]byte, 16)
	n, used, err := new(inflate.Decoder).Decode(dst, src)
	fmt.Printf("%s, %d bytes used, %v\n", dst[:n], used, err)
	// Output: abcabcabcabc, 7 bytes used, <nil>
}
