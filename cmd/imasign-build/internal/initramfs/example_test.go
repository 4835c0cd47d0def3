package initramfs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/kernel"
)

// Make the keys of a device, and the archive that goes into its initramfs.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	pairs, err := certs.Init(context.Background(), dir, certs.InitOptions{Algorithm: "p256"})
	if err != nil {
		panic(err)
	}
	bundle, err := initramfs.New(initramfs.Options{
		Hook:         initramfs.Framework,
		Certificates: []initramfs.Input{{Name: "x509_ima.crt", Data: pairs[1].Certificate.Raw}},
		Kernel:       kernel.Profile{Version: kernel.Version{Major: 6, Minor: 12}},
	})
	if err != nil {
		panic(err)
	}
	for _, f := range bundle.Files {
		fmt.Println(f.Mode, f.Path)
	}
	var archive bytes.Buffer
	z, err := compress.Initramfs().Writer(context.Background(), &archive, compress.Zstd, 1)
	if err != nil {
		panic(err)
	}
	if err := bundle.WriteCPIO(z, time.Unix(0, 0)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", archive.Bytes()[:4])

	// Output:
	// drwxr-xr-x etc
	// drwxr-xr-x etc/ima
	// -rw-r--r-- etc/ima/ima_policy.default
	// drwxr-xr-x etc/keys
	// -rw-r--r-- etc/keys/x509_ima.der
	// drwxr-xr-x init.d
	// -rwxr-xr-x init.d/95-imasign
	// 28b52ffd
}
