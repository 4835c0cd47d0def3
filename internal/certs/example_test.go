package certs_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/kernel"
)

// Make the keys of a device, then check them for an older kernel.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	subject, err := certs.ParseSubject("/O=Acme/CN=Router")
	if err != nil {
		panic(err)
	}
	pairs, err := certs.Init(context.Background(), dir, certs.InitOptions{Algorithm: "p256", Subject: subject})
	if err != nil {
		panic(err)
	}
	for _, p := range pairs {
		fmt.Println(filepath.Base(p.Key), "of", p.Certificate.Subject)
	}

	kernel, err := kernel.ParseVersion("5.10")
	if err != nil {
		panic(err)
	}
	ca, leaf := pairs[0].Certificate, pairs[1].Certificate
	for _, f := range certs.Check(leaf, []*x509.Certificate{ca}, kernel) {
		fmt.Println(f.Rule, f.Severity)
	}
	// Output:
	// system_trusted_key.key of CN=Router system CA,O=Acme
	// x509_ima.key of CN=Router IMA signing,O=Acme
	// ecdsa refuse
	// ecdsa refuse
}
