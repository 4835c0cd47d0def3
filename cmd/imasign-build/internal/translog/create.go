package translog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Names of files in the directory of a log.
const (
	journalName    = "journal"
	checkpointName = "checkpoint"
	hashesName     = "hashes"
	offsetsName    = "offsets"
	leavesName     = "leaves"
)

// Create makes an empty log in dir, which may exist if it has no log. The name of the log is
// that of its key, an Ed25519 key of a signed note (golang.org/x/mod/sumdb/note).
func Create(dir string, key note.Signer) error {
	if err := checkOrigin(key.Name()); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the log: %w", err)
	}
	for _, name := range []string{journalName, checkpointName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("create the log in %s: %w", dir, errors.Join(err, atomicfile.ErrExists))
		}
	}
	signed, err := sign(key, &Tree{})
	if err != nil {
		return err
	}
	if err := create(filepath.Join(dir, checkpointName), signed); err != nil {
		return err
	}
	// The journal comes last: without one there is no log.
	return create(filepath.Join(dir, journalName), []byte(start(key.Name())))
}

func create(path string, content []byte) error {
	f, err := atomicfile.CreateNew(path, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		f.Abort()
		return err
	}
	return f.Commit()
}

func checkOrigin(name string) error {
	if name == "" || len(name) > maxOrigin || strings.ContainsAny(name, "\n\r") {
		return fmt.Errorf("the name of a log must be one line of at most %d bytes", maxOrigin)
	}
	return nil
}

// sign returns the signed checkpoint of a tree.
func sign(key note.Signer, tree *Tree) ([]byte, error) {
	c := protocol.Checkpoint{Origin: key.Name(), Size: tree.size, Root: tree.Root()}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, key)
	if err != nil {
		return nil, fmt.Errorf("sign the checkpoint of the log %s: %w", key.Name(), err)
	}
	if len(signed) > maxCheckpoint {
		return nil, fmt.Errorf("sign the checkpoint of the log %s: it has more than %d bytes", key.Name(), maxCheckpoint)
	}
	return signed, nil
}
