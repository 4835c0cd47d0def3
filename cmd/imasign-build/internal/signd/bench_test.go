package signd

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// readyKey has the signatures of some digests already, so that what remains is what a service
// does beside signing.
type readyKey map[string][]byte // by digest

func (k readyKey) SignRaw(_ context.Context, _ crypto.Hash, messages [][]byte) ([][]byte, error) {
	signatures := make([][]byte, len(messages))
	for i, message := range messages {
		signature, known := k[string(message)]
		if !known {
			return nil, errors.New("unknown digest")
		}
		signatures[i] = signature
	}
	return signatures, nil
}

// BenchmarkTransport measures the processor time of client and server for 1,000 signatures
// that are there already: the request with its claims, TLS, the checks, the records, the log on
// the disk, and the answer. Signing is not in it, nor verification by the client, but the server
// verifies one signature in 128, as it does with an ECDSA key in a file. The aim is at most 6 ms
// in batches of 1,024. Each operation is one batch, and four are under way at a time.
func BenchmarkTransport(b *testing.B) {
	for _, digests := range []int{256, protocol.MaxDigests} {
		b.Run(fmt.Sprint(digests), func(b *testing.B) {
			private, ready := ecKey(b), readyKey{}
			batch := make([]byte, 0, digests*sha256.Size)
			for i := range digests {
				digest := sha256.Sum256(fmt.Append(nil, i))
				signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
				check(b, err)
				ready[string(digest[:])] = signature
				batch = append(batch, digest[:]...)
			}
			key := keyOf(b, "image", private, ready, func(k *keystore.Key) { k.Unverified = true })
			s := startWith(b, key, diskLog(b))
			ask := func() {
				r := s.ci.request(s.address, 0)
				r.Digests = batch
				r.Origins = []protocol.Origin{{Container: "tree", Name: []byte("rootfs")}}
				for i := range digests {
					r.Claims = append(r.Claims, protocol.Claim{Path: fmt.Appendf(nil, "/usr/lib/module-%d/library-%d.so", i/100, i)})
				}
				if a, err := s.ci.ask(b, r); err != nil || len(a.Signatures) != digests {
					b.Error(err)
				}
			}
			ask()
			b.ReportAllocs()
			before := processorTime(b)
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ask()
				}
			})
			used := processorTime(b) - before
			b.ReportMetric(float64(used.Microseconds())/float64(b.N*digests), "cpu-ms/1000")
		})
	}
}

// diskLog makes a log on the disk.
func diskLog(b *testing.B) Log {
	b.Helper()
	private, _, err := note.GenerateKey(rand.Reader, "bench")
	check(b, err)
	signer, err := note.NewSigner(private)
	check(b, err)
	dir := b.TempDir()
	check(b, translog.Create(dir, signer))
	log, err := translog.Open(b.Context(), dir, signer, translog.Options{})
	check(b, err)
	b.Cleanup(func() { check(b, log.Close()) })
	return log
}

// processorTime returns what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	check(b, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
