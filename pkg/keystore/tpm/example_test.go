package tpm_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
)

// One backend serves all keys of a program.
func Example() {
	backends := keystore.Backends{tpm.New()}
	_, err := backends.Open(context.Background(), "tpm2:0x81000001?device=/dev/tpm-of-nobody", keystore.Options{})
	fmt.Println(errors.Is(err, keystore.ErrNotFound))
	_, err = backends.Open(context.Background(), "tpm2:0x80000000", keystore.Options{})
	fmt.Println(err)
	// Output:
	// true
	// tpm2 URI: 0x80000000 is not the handle of a persistent object, which is between 0x81000000 and 0x81ffffff: tpm2_evictcontrol makes an object persistent
}
