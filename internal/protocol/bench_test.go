package protocol_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
)

// BenchmarkBatch measures what client and server do for a batch besides signing and sending.
func BenchmarkBatch(b *testing.B) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, of := range []struct{ digests, signature int }{{256, 256}, {1024, 71}} {
		r := &protocol.Request{
			Version: protocol.Version, Audience: "127.0.0.1:7443", Key: "image", Requester: public, ID: make([]byte, protocol.IDSize),
			Time: time.Now().Unix(), Type: 3, Signature: 2, Hash: 4, Digests: make([]byte, of.digests*sha256.Size),
			Origins: []protocol.Origin{{Container: "image", Name: []byte("core-image-minimal.ext4")}},
		}
		a := &protocol.Answer{Version: protocol.Version, ID: r.ID}
		for i := range of.digests {
			r.Claims = append(r.Claims, protocol.Claim{Path: fmt.Appendf(nil, "/usr/lib/x86_64-linux-gnu/module-%d/library-%d.so", i/100, i)})
			a.Signatures = append(a.Signatures, make([]byte, of.signature))
		}
		request, err := protocol.Seal(r, key)
		if err != nil {
			b.Fatal(err)
		}
		answer, err := a.Encode()
		if err != nil {
			b.Fatal(err)
		}
		d := &protocol.Details{Version: protocol.Version, Digests: r.Digests, Leaves: make([]byte, 32*of.digests), Origins: r.Origins, Claims: r.Claims}
		leaves := make([]tlog.Hash, of.digests)
		for _, step := range []struct {
			name string
			run  func() error
		}{
			{"Seal", func() error { _, err := protocol.Seal(r, key); return err }},
			{"Open", func() error { _, err := protocol.Open(request); return err }},
			{"Encode", func() error { _, err := a.Encode(); return err }},
			{"DecodeAnswer", func() error { _, err := protocol.DecodeAnswer(answer); return err }},
			{"Details", func() error { _, err := d.Encode(); return err }},
			{"Root", func() error {
				for i, digest := range r.Split() {
					leaves[i] = protocol.Leaf([32]byte{}, 3, 2, 4, digest, a.Signatures[i])
				}
				protocol.Root(leaves)
				return nil
			}},
		} {
			b.Run(fmt.Sprintf("%d/%s", of.digests, step.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := step.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*of.digests), "ns/digest")
			})
		}
	}
}
