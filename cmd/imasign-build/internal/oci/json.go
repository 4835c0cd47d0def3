package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/imasign/imasign-build/internal/quote"
)

// maxNesting is how deep a document's objects and lists may nest. Go's readers of
// images stop at 10,000, others at less.
const maxNesting = 200

// object is a JSON object of which some keys are known.
type object map[string]json.RawMessage

// Keys that the readers of images (containers/image, containerd, docker) look for. They
// all use encoding/json, which also accepts "Layers" and "layerſ" for "layers".
var (
	indexKeys      = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "blobs", "fsLayers", "history", "signatures"}
	descriptorKeys = []string{"mediaType", "artifactType", "digest", "size", "urls", "annotations", "data", "platform"}
	configKeys     = []string{"rootfs"}
	rootfsKeys     = []string{"type", "diff_ids"}
	dockerKeys     = []string{"Config", "RepoTags", "Layers", "Parent", "LayerSources"}
	markerKeys     = []string{"imageLayoutVersion"}
)

// parseObject reads a document that is one object and means the same to every reader: it
// is JSON in UTF-8, has no key twice, and no key that differs from one of keys only in
// case.
func parseObject(text []byte, keys []string) (object, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	return asObject(text, keys)
}

// asObject reads a part of a document that was checked.
func asObject(text json.RawMessage, keys []string) (object, error) {
	var o object
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return nil, fmt.Errorf("%w: an object is expected, not %.20q", ErrFormat, text)
	}
	return o, o.checkKeys(keys)
}

// checkKeys refuses a key that some readers take for a known one.
func (o object) checkKeys(known []string) error {
	for key := range o {
		for _, name := range known {
			if key != name && strings.EqualFold(key, name) {
				return fmt.Errorf("%w: key %q differs from %q only in case: some programs treat them as the same key", ErrFormat, key, name)
			}
		}
	}
	return nil
}

// checkJSON refuses what readers of JSON disagree about.
func checkJSON(text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("%w: not UTF-8", ErrFormat)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one JSON value", ErrFormat)
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, quote.Plain(err))
	}
	delim, nested := token.(json.Delim)
	switch {
	case !nested:
		return nil
	case depth == maxNesting:
		return fmt.Errorf("%w: nested more than %d deep", ErrFormat, maxNesting)
	}
	met := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			if err := checkKey(dec, met); err != nil {
				return err
			}
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err = dec.Token(); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, quote.Plain(err))
	}
	return nil
}

func checkKey(dec *json.Decoder, met map[string]bool) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, quote.Plain(err))
	}
	key, _ := token.(string)
	if met[key] {
		return fmt.Errorf("%w: key %q appears twice", ErrFormat, key)
	}
	met[key] = true
	return nil
}

// get reads the value of a key into into. Without the key, into stays unchanged.
func (o object) get(key string, into any) error {
	text, there := o[key]
	if !there {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrFormat, key, quote.Plain(err))
	}
	return nil
}

func (o object) set(key string, value any) error {
	text, err := json.Marshal(value)
	o[key] = text
	return err
}

// objects reads a list of objects; null is an empty one, as Go's encoders write it.
func (o object) objects(key string, keys []string) ([]object, error) {
	var texts []json.RawMessage
	if err := o.get(key, &texts); err != nil {
		return nil, err
	}
	list := make([]object, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = asObject(text, keys); err != nil {
			return nil, fmt.Errorf("%q, number %d: %w", key, i, err)
		}
	}
	return list, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
