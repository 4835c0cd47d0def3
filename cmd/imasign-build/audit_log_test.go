package main

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// auditLog makes or extends the log of a service that made the signatures in a manifest, two of
// them in a batch, and refused one request: auditlog DIR KEY CERT MANIFEST. KEY is the log's
// key, which it makes, and KEY.pub its public half.
func auditLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: auditlog DIR KEY CERT MANIFEST")
	}
	dir, key := ts.MkAbs(args[0]), auditLogKey(ts, args[1])
	if _, err := os.Stat(dir); err != nil {
		ts.Check(translog.Create(dir, key))
	}
	ctx := context.Background()
	l, err := translog.Open(ctx, dir, key, translog.Options{})
	ts.Check(err)
	public, err := readKeys(ctx, []string{ts.MkAbs(args[2])}, fileSigner, "")
	ts.Check(err)
	keys, err := audit.NewKeys(public)
	ts.Check(err)
	in := manifest.NewReader(strings.NewReader(ts.ReadFile(args[3])))
	_, err = in.Next()
	ts.Check(err)
	var leaves []tlog.Hash
	for s, err := range keys.Signatures(in.Lines()) {
		ts.Check(err)
		leaves = append(leaves, s.Leaves[:min(1, len(s.Leaves))]...)
	}
	for batch := range slices.Chunk(leaves, 2) {
		appendBatch(ts, l, batch)
	}
	appendBatch(ts, l, nil)
	ts.Check(l.Close())
}

// auditLogKey returns the key of a log in a file, which it makes if it is missing.
func auditLogKey(ts *testscript.TestScript, file string) note.Signer {
	path := ts.MkAbs(file)
	if _, err := os.Stat(path); err != nil {
		secret, public, err := note.GenerateKey(nil, "example.org/"+file)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(secret), 0o600))
		ts.Check(os.WriteFile(path+".pub", []byte("# a comment\n\n"+public+"\n"), 0o644))
	}
	secret, err := os.ReadFile(path)
	ts.Check(err)
	key, err := note.NewSigner(string(secret))
	ts.Check(err)
	return key
}

// appendBatch adds a record of a batch, or of a refusal if there are no leaves.
func appendBatch(ts *testscript.TestScript, l *translog.Log, leaves []tlog.Hash) {
	n := uint64(max(len(leaves), 1))
	d := protocol.Details{
		Version: protocol.Version, Digests: make([]byte, 32*n), Origins: []protocol.Origin{{Container: "tree", Name: []byte("a\x1bb")}},
		Claims: slices.Repeat([]protocol.Claim{{Path: []byte("/usr/bin/\x1b[31mred")}}, int(n)),
	}
	for i := range leaves {
		d.Leaves = append(d.Leaves, leaves[i][:]...)
	}
	details, err := d.Encode()
	ts.Check(err)
	root, sum := protocol.Root(leaves), sha256.Sum256(details)
	form := ima.ContentSignature()
	r := protocol.Record{
		Version: protocol.Version, Time: 1_790_000_000 + 86400*l.Size(), Requester: "ci", RequesterKey: make([]byte, 32), ID: make([]byte, 16),
		Key: "image", SPKI: make([]byte, 32), Type: uint8(form.Type), Signature: form.Version, Hash: uint8(ima.SHA256),
		Digests: n, Rule: "images", Root: root[:], Details: sum[:],
	}
	if leaves == nil {
		r.Requester, r.Rule, r.Root, r.Refusal = "koji", "", nil, protocol.NotApproved
	}
	record, err := r.Encode()
	ts.Check(err)
	_, err = l.Append(context.Background(), record, details)
	ts.Check(err)
}
