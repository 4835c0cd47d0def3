//go:build cgo

package pkcs11_test

import (
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
)

// One backend serves all keys of a program. A URI must not contain a PIN.
func Example() {
	backends := keystore.Backends{pkcs11.New()}
	_, err := backends.Open(context.Background(),
		"pkcs11:token=build;object=x509_ima?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=1234", keystore.Options{})
	fmt.Println(err)
	// Output:
	// PKCS#11 URI: pin-value shows the PIN to every process on this machine: pin-source=file:PATH names where it is
}
