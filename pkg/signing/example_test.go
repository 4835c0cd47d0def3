package signing_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// memory is a container in memory: one file with content, one whose digest is
// known, and a directory.
type memory struct{}

func (memory) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	known := sha256.Sum256([]byte("known"))
	return func(yield func(signing.Entry, error) bool) {
		_ = yield(signing.Entry{Path: "bin/hello", Mode: 0o755, Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(bytes.NewReader([]byte("hello")))}, nil
		}}, nil) &&
			yield(signing.Entry{Path: "bin/known", Mode: 0o755, Digests: []signing.Digest{{Hash: ima.SHA256, Sum: known[:]}}}, nil) &&
			yield(signing.Entry{Path: "etc", Reason: "directory"}, nil)
	}
}

// Plan a container's signatures, then print what the plan attaches.
func Example() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	public, err := ima.BareKey(key.Public())
	if err != nil {
		panic(err)
	}
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}})
	if err != nil {
		panic(err)
	}
	plan, err := engine.Plan(context.Background(), memory{})
	if err != nil {
		panic(err)
	}
	defer plan.Close()
	for record, err := range plan.Records() {
		if err != nil {
			panic(err)
		}
		switch record.Status() {
		case signing.Signed, signing.Hashed:
			value, err := ima.Parse(record.Final(ima.XattrIMA))
			fmt.Println(record.Path, "gets a value of this key:", err == nil && value.KeyID == public.ID())
		case signing.Unchanged, signing.Skipped:
			fmt.Println(record.Path, "stays as it is:", record.Reason)
		}
	}
	// Output:
	// bin/hello gets a value of this key: true
	// bin/known gets a value of this key: true
	// etc stays as it is: directory
}
