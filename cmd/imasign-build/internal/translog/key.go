package translog

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"crypto/ed25519"

	"github.com/imasign/imasign-build/internal/protocol"
)

// VerifierKey returns the public half of a log's key, for note.NewVerifier. Both have the form
// of golang.org/x/mod/sumdb/note.
func VerifierKey(secret string) (string, error) {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", fmt.Errorf("the key of a log: %w", err)
	}
	// PRIVATE+KEY+name+hash+base64(algorithm, seed)
	fields := strings.SplitN(secret, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", fmt.Errorf("the key of the log %s is not an Ed25519 key", signer.Name())
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("the key of the log %s is not an Ed25519 key", signer.Name())
	}
	return note.NewEd25519VerifierKey(signer.Name(), public)
}

// openOwn reads a checkpoint that this key signed. A signer has no public half, but Ed25519
// signs the same text with the same bytes every time.
func openOwn(signed []byte, key note.Signer) (protocol.Checkpoint, error) {
	text, _, found := bytes.Cut(signed, []byte("\n\n"))
	c, err := protocol.ParseCheckpoint(string(text) + "\n")
	if err != nil || !found {
		return protocol.Checkpoint{}, fmt.Errorf("it is not a checkpoint of a log")
	}
	if c.Origin != key.Name() {
		return protocol.Checkpoint{}, fmt.Errorf("it is of the log %q, the key is that of %q", c.Origin, key.Name())
	}
	again, err := note.Sign(&note.Note{Text: c.Text()}, key)
	if err != nil {
		return protocol.Checkpoint{}, err
	}
	if !bytes.Equal(again, signed) {
		return protocol.Checkpoint{}, fmt.Errorf("its signature is not by the key of the log")
	}
	return c, nil
}
