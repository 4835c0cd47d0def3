package remote

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// parseLogKeys reads verifier keys of signed notes, one in a line. Empty lines, and lines that
// begin with #, are ignored.
func parseLogKeys(text string) (list []note.Verifier, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, errors.New("log: a line is not the key of a log: name+hash+key, as `serve init` writes it")
		}
		list = append(list, v)
	}
	if list == nil {
		return nil, errors.New("log: it has no key of a log")
	}
	return list, nil
}

// checkReceipt compares the receipt in an answer with the request, and with the signatures. If
// the keys of the logs are known, the receipt must prove that one of them has the record.
func (k *key) checkReceipt(r *protocol.Request, a *protocol.Answer) error {
	if len(a.Receipt.Record) == 0 && k.logs == nil {
		return nil
	}
	if k.logs != nil {
		if err := k.checkProof(&a.Receipt); err != nil {
			return err
		}
	}
	record, err := protocol.DecodeRecord(a.Receipt.Record)
	if err != nil {
		return err
	}
	spki := sha256.Sum256(k.spki)
	root := protocol.Root(k.leaves(r.Type, r.Signature, r.Hash, r.Split(), a.Signatures))
	switch {
	case record.Refusal != "" || record.Rule == "":
		return fmt.Errorf("the log says that the request was refused (%s)", record.Refusal)
	case record.Type != r.Type, record.Signature != r.Signature, record.Hash != r.Hash, record.Digests != uint64(len(a.Signatures)),
		record.Key != r.Key, !bytes.Equal(record.SPKI, spki[:]), !bytes.Equal(record.ID, r.ID), !bytes.Equal(record.RequesterKey, r.Requester):
		return errors.New("the log has another request")
	case !bytes.Equal(record.Root, root[:]):
		return errors.New("the log has other signatures")
	}
	return nil
}

// leaves returns the leaves of a batch in the log.
func (k *key) leaves(kind, version, hash uint8, digests, signatures [][]byte) []tlog.Hash {
	spki := sha256.Sum256(k.spki)
	leaves := make([]tlog.Hash, len(signatures))
	for i, digest := range digests {
		leaves[i] = protocol.Leaf(spki, kind, version, hash, digest, signatures[i])
	}
	return leaves
}

// keep hands over the receipt of a batch whose signatures were verified.
func (k *key) keep(server string, b *batch, a *protocol.Answer) {
	if k.receipt == nil {
		return
	}
	var leaves []byte
	for _, leaf := range k.leaves(uint8(b.form.Type), b.form.Version, uint8(b.hash), b.digests, a.Signatures) {
		leaves = append(leaves, leaf[:]...)
	}
	k.receipts.Lock()
	defer k.receipts.Unlock()
	k.receipt(keystore.Receipt{Server: server, Record: a.Receipt.Record, Proof: a.Receipt.Proof, Leaves: leaves})
}

// checkProof verifies that one of the logs has the record.
func (k *key) checkProof(r *protocol.Receipt) error {
	proof, err := protocol.ParseProof(r.Proof)
	if err != nil {
		return err
	}
	for _, log := range k.logs {
		if _, err = proof.Check(r.Record, log); err == nil {
			return nil
		}
	}
	return err
}
