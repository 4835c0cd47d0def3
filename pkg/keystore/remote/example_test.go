package remote_test

import (
	"context"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
)

// A program that signs with a service lists the backend.
func ExampleNew() {
	backends := keystore.Backends{remote.New(nil)}
	_, err := backends.Open(context.Background(), "https://signer.example.com:7443/image", keystore.Options{})
	fmt.Println(err)
	// Output: https URI: it names no requester: add identity=FILE, its key and certificate
}

// Other requests to the service, such as for its log, have a client of their own.
func ExampleClient() {
	_, _, err := remote.Client(context.Background(), "https://signer.example.com?identity=missing.pem", nil, keystore.Options{})
	fmt.Println(err)
	// Output: open https://signer.example.com:7443/: identity: open missing.pem: no such file or directory
}
