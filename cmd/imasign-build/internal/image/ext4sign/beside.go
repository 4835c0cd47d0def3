package ext4sign

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
)

// maxDescription limits the descriptions of bundles that are read, in bytes.
const maxDescription = 1 << 20

// beside refuses to sign if a file beside the image, or beside the copy, has checksums of
// it: a block map, or the description of a bundle.
func (c *Copy) beside() error {
	for _, path := range []string{c.image.Name(), c.o.Output} {
		if path == "" || path == "-" {
			continue
		}
		if err := blockMap(path); err != nil {
			return err
		}
		for _, name := range []string{"manifest.raucm", "sw-description"} {
			if err := describes(filepath.Join(filepath.Dir(path), name), filepath.Base(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockMap refuses a block map where bmaptool looks for one: beside the file, or beside a
// file without the suffix of a compression.
func blockMap(path string) error {
	names := []string{path + ".bmap"}
	if _, compressed := compress.Images().ByName(path); compressed {
		names = append(names, strings.TrimSuffix(path, filepath.Ext(path))+".bmap")
	}
	for _, name := range names {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%w: %s has checksums of its blocks: remove it, sign, and make it again (bmaptool create)", ErrSealed, quote.Name(name))
		}
	}
	return nil
}

// describes refuses a description of a bundle, by RAUC or SWUpdate, with a checksum of a
// file.
func describes(path, name string) error {
	text, err := input.ReadRegular(path, maxDescription)
	if err != nil {
		return nil //nolint:nilerr // most images have none
	}
	quoted := regexp.MustCompile(`(^|["=\s])` + regexp.QuoteMeta(name) + `(["\s;]|$)`)
	if strings.Contains(string(text), "sha256") && quoted.Match(text) {
		return fmt.Errorf("%w: %s has its checksum: sign the image first, then describe it", ErrSealed, quote.Name(path))
	}
	return nil
}
