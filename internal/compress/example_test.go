package compress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/imasign/imasign-build/internal/compress"
)

// Write the format that an archive's name asks for, and recognise it by the content.
func Example() {
	profile := compress.Archives()
	format, _ := profile.ByName("rootfs.tar.zst")
	var packed bytes.Buffer
	z, err := profile.Writer(context.Background(), &packed, format, 0)
	if err != nil {
		panic(err)
	}
	fmt.Fprint(z, "content")
	if err := z.Close(); err != nil {
		panic(err)
	}

	found, content, stop, err := profile.Open(bufio.NewReader(&packed))
	if err != nil {
		panic(err)
	}
	defer stop()
	text, err := io.ReadAll(content)
	fmt.Println(found, string(text), err)
	// Output: zstd content <nil>
}
