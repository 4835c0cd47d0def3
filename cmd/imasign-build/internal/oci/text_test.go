package oci_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestTextLayers checks that the text that `cosign attach sbom` puts in an image manifest
// is copied, and that a file system image that begins like text is refused.
func TestTextLayers(t *testing.T) {
	for text, want := range map[string]error{
		"SPDXVersion: SPDX-2.2\nDataLicense: CC0-1.0\n":          nil,
		"<?xml version=\"1.0\"?><bom/>":                          nil,
		"{\"a\": 1}":                                             nil,
		"{" + strings.Repeat(" ", 1023) + "\xe2\xe1\xf5\xe0\x00": oci.ErrUnsupported,
		strings.Repeat(" ", 1024) + "\xe2\xe1\xf5\xe0\x00":       oci.ErrUnsupported,
	} {
		l := harness.NewImages(t)
		sbom := l.Blob(l.Manifest(harness.Layer("a", "a"), "layers", []any{l.Blob(text, "text/spdx")}), harness.OCIManifest)
		l.Index(l.Image("a", harness.Layer("a", "a")), sbom)
		if _, err := signed(t, l.Dir, oci.Options{}); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
