package protocol_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// key is the Ed25519 key of a requester whose seed is 32 times n.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// request returns a request for the signatures of two files of a package.
func request() *protocol.Request {
	one, two := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))
	return &protocol.Request{
		Version: protocol.Version, Audience: "signer.example.com:7443", Key: "image",
		Requester: key(1).Public().(ed25519.PublicKey), ID: bytes.Repeat([]byte{2}, protocol.IDSize), Time: 1700000000,
		Type: 3, Signature: 2, Hash: uint8(ima.SHA256), Digests: append(one[:], two[:]...),
		Origins: []protocol.Origin{{Container: "rpm", Name: []byte("bash.rpm")}},
		Claims:  []protocol.Claim{{Path: []byte("usr/bin/bash")}, {Path: []byte("usr/bin/\xff")}},
	}
}

func TestRequests(t *testing.T) {
	body, err := protocol.Seal(request(), key(1))
	if err != nil {
		t.Fatal(err)
	}
	r, err := protocol.Open(body)
	if err != nil {
		t.Fatal(err)
	}
	form, err := r.Form()
	if err != nil || form != ima.ContentSignature() || len(r.Split()) != 2 || string(r.Claims[1].Path) != "usr/bin/\xff" {
		t.Errorf("got %+v, %v, %v", r, form, err)
	}
	if again, err := protocol.Seal(r, key(1)); err != nil || !bytes.Equal(again, body) {
		t.Errorf("another encoding: %v", err)
	}
	if other, err := protocol.Seal(r, key(2)); err != nil {
		t.Error(err)
	} else if _, err := protocol.Open(other); !errors.Is(err, protocol.ErrSignature) {
		t.Errorf("signed by another key: %v", err)
	}
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if _, err := protocol.Open(changed); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
	for n := range body {
		if _, err := protocol.Open(body[:n]); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := protocol.Open(append(body, 0)); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("with one more byte: %v", err)
	}
}

func TestRequestsThatNoServiceGrants(t *testing.T) {
	for name, change := range map[string]func(*protocol.Request){
		"version":            func(r *protocol.Request) { r.Version = 2 },
		"no audience":        func(r *protocol.Request) { r.Audience = "" },
		"control character":  func(r *protocol.Request) { r.Key = "a\nb" },
		"short id":           func(r *protocol.Request) { r.ID = r.ID[1:] },
		"type":               func(r *protocol.Request) { r.Type = 4 },
		"fs-verity with v2":  func(r *protocol.Request) { r.Type = 6 },
		"SHA-1":              func(r *protocol.Request) { r.Hash, r.Digests, r.Claims = 2, make([]byte, 20), nil },
		"no digests":         func(r *protocol.Request) { r.Digests, r.Claims = nil, nil },
		"half a digest":      func(r *protocol.Request) { r.Digests = r.Digests[:40] },
		"too many digests":   func(r *protocol.Request) { r.Digests, r.Claims = make([]byte, 1025*32), nil },
		"one claim too few":  func(r *protocol.Request) { r.Claims = r.Claims[:1] },
		"unknown origin":     func(r *protocol.Request) { r.Claims[0].Origin = 1 },
		"long path":          func(r *protocol.Request) { r.Claims[0].Path = make([]byte, 4097) },
		"IMA value":          func(r *protocol.Request) { r.Claims[0].IMA = []byte{4} },
		"no container":       func(r *protocol.Request) { r.Origins[0].Container = "" },
		"signature alone":    func(r *protocol.Request) { r.Origins[0].Signature = []byte{1} },
		"more than one MiB":  func(r *protocol.Request) { r.Origins[0].Header = make([]byte, 1<<20) },
		"long audience name": func(r *protocol.Request) { r.Audience = strings.Repeat("a", 256) },
	} {
		r := request()
		change(r)
		if _, err := protocol.Seal(r, key(1)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRoot compares the root with that of a log that has the leaves as records.
func TestRoot(t *testing.T) {
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, hashes[i])
		}
		return list, nil
	})
	var leaves []tlog.Hash
	for n := range int64(70) {
		want, err := tlog.TreeHash(n, read)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && protocol.Root(leaves) != want {
			t.Fatalf("%d leaves: got %v, want %v", n, protocol.Root(leaves), want)
		}
		leaf := protocol.Leaf([32]byte{1}, 3, 2, 4, make([]byte, 32), []byte{byte(n)})
		more, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		hashes, leaves = append(hashes, more...), append(leaves, leaf)
	}
}

func TestAnswers(t *testing.T) {
	a := protocol.Answer{Version: 1, ID: make([]byte, 16), Signatures: [][]byte{{1}, {2, 3}}}
	body, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.DecodeAnswer(body)
	if err != nil || len(got.Signatures) != 2 || !bytes.Equal(got.Signatures[1], []byte{2, 3}) {
		t.Errorf("got %+v, %v", got, err)
	}
	body, err = protocol.Refuse(protocol.Busy, "try %s", "later").Encode()
	if err != nil {
		t.Fatal(err)
	}
	refusal, err := protocol.DecodeRefusal(body)
	if err != nil || refusal.Code != protocol.Busy || refusal.Error() != "refused (busy): try later" || refusal.Code.Status() != 429 {
		t.Errorf("got %+v, %v", refusal, err)
	}
}
