// Command translog reads a log with the client of transparency-dev/tessera, which has no code in
// common with the program's own: translog URL KEY OLD-CHECKPOINT PROOFS. It verifies that the
// log continues the older checkpoint, that every entry is in the tree, and that the proofs in the
// directory PROOFS, each with the record that it is of, are right. It prints the number of
// entries and of proofs.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	formats "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx := context.Background()
	root, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	key, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	old, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	log, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	c, err := follow(ctx, log, key, old)
	if err != nil {
		return err
	}
	if err := entries(ctx, log, c); err != nil {
		return err
	}
	n, err := proofs(args[3], key)
	fmt.Println(c.Size, n)
	return err
}

// follow returns the newest checkpoint, if the log continues the older one.
func follow(ctx context.Context, log *client.HTTPFetcher, key note.Verifier, old []byte) (*formats.Checkpoint, error) {
	tracker, err := client.NewLogStateTracker(ctx, log.ReadTile, old, key, key.Name(), client.UnilateralConsensus(log.ReadCheckpoint))
	if err != nil {
		return nil, fmt.Errorf("older checkpoint: %w", err)
	}
	if _, _, _, err := tracker.Update(ctx); err != nil {
		return nil, fmt.Errorf("follow the log: %w", err)
	}
	c := tracker.Latest()
	return &c, nil
}

// entries verifies an inclusion proof of each entry.
func entries(ctx context.Context, log *client.HTTPFetcher, c *formats.Checkpoint) error {
	if c.Size == 0 {
		return nil
	}
	builder, err := client.NewProofBuilder(ctx, c.Size, log.ReadTile)
	if err != nil {
		return err
	}
	for first := uint64(0); first < c.Size; first += 256 {
		bundle, err := client.GetEntryBundle(ctx, log.ReadEntryBundle, first/256, c.Size)
		if err != nil {
			return err
		}
		for i, entry := range bundle.Entries {
			at := first + uint64(i)
			path, err := builder.InclusionProof(ctx, at)
			if err != nil {
				return err
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, at, c.Size, rfc6962.DefaultHasher.HashLeaf(entry), path, c.Hash); err != nil {
				return fmt.Errorf("entry %d: %w", at, err)
			}
		}
	}
	return nil
}

// proofs verifies each NAME.tlog-proof in a directory with NAME.record.
func proofs(dir string, key note.Verifier) (n int, err error) {
	list, err := filepath.Glob(filepath.Join(dir, "*.tlog-proof"))
	if err != nil {
		return 0, err
	}
	for _, file := range list {
		text, err := os.ReadFile(file)
		if err != nil {
			return n, err
		}
		record, err := os.ReadFile(strings.TrimSuffix(file, ".tlog-proof") + ".record")
		if err != nil {
			return n, err
		}
		if err := verify(string(text), record, key); err != nil {
			return n, fmt.Errorf("%s: %w", file, err)
		}
		n++
	}
	return n, nil
}

// verify reads a C2SP tlog-proof.
func verify(text string, record []byte, key note.Verifier) error {
	head, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof")
	}
	index, err := strconv.ParseUint(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	c, _, _, err := formats.ParseCheckpoint([]byte(checkpoint), key.Name(), key)
	if err != nil {
		return err
	}
	var path [][]byte
	for _, line := range lines[2:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	return proof.VerifyInclusion(rfc6962.DefaultHasher, index, c.Size, rfc6962.DefaultHasher.HashLeaf(record), path, c.Hash)
}
