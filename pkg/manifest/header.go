package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

func (h *Header) toJSON() headerJSON {
	j := headerJSON{
		Version: version, Tool: strings.ToValidUTF8(h.Tool, "\uFFFD"), Container: strings.ToValidUTF8(string(h.Container), "\uFFFD"),
		Entries: h.Entries, Certificate: hex.EncodeToString(h.Certificate),
	}
	j.Name, j.NameB64 = text(h.Name)
	if h.Hash != 0 {
		j.Hash = h.Hash.String()
	}
	if h.KeyID != 0 {
		j.KeyID = h.KeyID.String()
	}
	j.KeyFor = purposes()[h.KeyFor]
	if !h.Date.IsZero() {
		j.Date = h.Date.UTC().Format(time.RFC3339)
	}
	return j
}

// check returns an error for a header that must be neither written nor read.
func (h *Header) check() error {
	switch {
	case h.Container == "":
		return errors.New("container: it is empty")
	case h.Entries < 0:
		return fmt.Errorf("entries: %d is negative", h.Entries)
	case h.Hash.Size() == 0:
		return fmt.Errorf("hash: %w: %s", ima.ErrUnknownHash, h.Hash)
	case h.KeyFor != ima.Unstated && purposes()[h.KeyFor] == "":
		return fmt.Errorf("key_for: purpose %d", h.KeyFor)
	case len(h.Certificate) != 0 && len(h.Certificate) != 32:
		return fmt.Errorf("certificate_sha256: %d bytes, not 32", len(h.Certificate))
	case !h.Date.IsZero() && (h.Date.UTC().Year() < 1 || h.Date.UTC().Year() > 9999):
		return fmt.Errorf("date: year %d", h.Date.UTC().Year())
	}
	return nil
}

// purposes are the words for the purposes of keys.
func purposes() map[ima.Purpose]string {
	return map[ima.Purpose]string{ima.ForV2: "v2", ima.ForV3: "v3", ima.ForEVM: "evm", ima.ForAny: "any"}
}

func (j *headerJSON) header() (h Header, err error) {
	if j.Version != version {
		return Header{}, fmt.Errorf("%w: version %d, this program reads version %d", ErrFormat, j.Version, version)
	}
	h = Header{Tool: j.Tool, Container: Container(j.Container), Name: j.Name, Entries: j.Entries}
	if len(j.NameB64) > 0 {
		h.Name = string(j.NameB64)
	}
	if j.Hash != "" {
		if h.Hash, err = ima.ParseHash(j.Hash); err != nil {
			return Header{}, err
		}
	}
	if h.KeyID, err = parseKeyID(j.KeyID); err != nil {
		return Header{}, err
	}
	for purpose, word := range purposes() {
		if j.KeyFor == word {
			h.KeyFor = purpose
		}
	}
	if j.KeyFor != "" && h.KeyFor == ima.Unstated {
		return Header{}, fmt.Errorf("key_for %q: not one of any, evm, v2, v3", j.KeyFor)
	}
	if h.Certificate, err = parseHex(j.Certificate); err != nil {
		return Header{}, fmt.Errorf("certificate_sha256: %w", err)
	}
	if j.Date != "" {
		if h.Date, err = time.Parse(time.RFC3339, j.Date); err != nil {
			return Header{}, fmt.Errorf("date: %w", err)
		}
	}
	return h, h.check()
}
