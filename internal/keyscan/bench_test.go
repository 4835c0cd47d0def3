package keyscan_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"testing"

	"github.com/imasign/imasign-build/internal/keyscan"
)

// BenchmarkScan searches this test's own program; BenchmarkSHA256 is what to compare with.
func BenchmarkScan(b *testing.B) {
	data := program(b)
	s := keyscan.New()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := s.Scan(context.Background(), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSHA256(b *testing.B) {
	data := program(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sha256.Sum256(data)
	}
}

func program(b *testing.B) []byte {
	b.Helper()
	path, err := os.Executable()
	check(b, err)
	data, err := os.ReadFile(path)
	check(b, err)
	return data
}
