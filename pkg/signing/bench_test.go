package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// The benchmarks' ns/op is for 10,000 entries. No benchmark uses a file system.
const benchEntries = 10_000

// instant returns the same signature for all digests and claims to have verified it, so
// that the benchmarks measure only this package.
type instant struct{ sig []byte }

func (s instant) Sign(_ context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
	sigs := make([][]byte, len(digests))
	for i := range sigs {
		sigs[i] = s.sig
	}
	return sigs, nil
}

func (instant) VerifiesWith(crypto.PublicKey) bool { return true }

func instantEngine(b *testing.B) *signing.Engine {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	check(b, err)
	public, err := ima.BareKey(private.Public())
	check(b, err)
	return engine(b, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: instant{make([]byte, 256)}, Public: public}, 0)}, SpoolDir: "/dev/shm"})
}

func benchPlan(b *testing.B, e *signing.Engine, list []signing.Entry) {
	b.ReportAllocs()
	for b.Loop() {
		p, err := e.Plan(context.Background(), source(list...))
		check(b, err)
		check(b, p.Close())
	}
}

func BenchmarkPlanStatedDigests(b *testing.B) {
	var list []signing.Entry
	for i := range benchEntries {
		list = append(list, stated(fmt.Sprintf("usr/lib/file-%06d", i), ima.SHA256, fmt.Sprint(i)))
	}
	benchPlan(b, instantEngine(b), list)
}

func BenchmarkPlanContent(b *testing.B) {
	content := bytes.Repeat([]byte("imasign-"), 512) // 4 KiB
	var list []signing.Entry
	for i := range benchEntries {
		list = append(list, signing.Entry{Path: fmt.Sprintf("usr/lib/file-%06d", i), Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(bytes.NewReader(content))}, nil
		}})
	}
	b.SetBytes(int64(benchEntries * len(content)))
	benchPlan(b, instantEngine(b), list)
}
