package service

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestHeaderBound lets a requester sign only what is in packages that an OpenPGP key signed.
func TestHeaderBound(t *testing.T) {
	t.Parallel()
	s := newService(t, harness.Keys(t, "p256"))
	write(t, s.path("keys.asc"), read(t, packages.PublicKey(t, "rsa")))
	rule := "  - {name: packages, keys: [image], requesters: [build], forms: [v2], header: {keyring: keys.asc, built-after: %s}}\n"
	s.rules("", fmt.Sprintf(rule, "2023-01-01"))
	s.start()
	in, out, root := t.TempDir(), t.TempDir(), t.TempDir()
	signed := packages.Copy(t, "openpgp-rsa", in)
	s.signed(s.build(), "rpm sign", "--output-dir", out, signed)
	done := filepath.Join(out, filepath.Base(signed))
	packages.InstallIMA(t, root, done, s.certificate())
	if r := packages.Checksig(t, done); r.Code != 0 {
		t.Errorf("rpm refuses the package:\n%s%s", r.Out, r.Err)
	}

	for name, why := range map[string]string{
		"zstd":            "there is none over the header alone",
		"openpgp-ed25519": "no signing key in the keyring has its key id",
	} {
		path := packages.Copy(t, name, t.TempDir())
		before := read(t, path)
		r := s.client(s.build(), "rpm sign", path)
		if r.Code != 1 {
			t.Errorf("%s: exit %d", name, r.Code)
		}
		demand(t, r.Err, "refused (not-in-header)", why)
		if read(t, path) != before {
			t.Errorf("%s was changed", name)
		}
	}
	s.refused(s.build(), files(t, 3), "refused (not-in-header)")
	s.claims(signed)

	s.configure("2023-01-01", "2024-01-01")
	s.reload()
	r := s.client(s.build(), "rpm sign", "--force", signed)
	demand(t, r.Err, "refused (not-in-header)", "the package was built at 2023-11-14")
}

// claims claims digests to be in a header that is signed.
func (s *service) claims(path string) {
	s.Helper()
	p, err := rpmsign.Open(path, rpmsign.Options{})
	check(s, err)
	defer p.Close()
	w := s.wire(s.own())
	ask := func(change func(*protocol.Request)) reply {
		r := w.request(1)
		for e, err := range p.Entries(s.Context()) {
			check(s, err)
			if e.Origin == nil || len(e.Digests) == 0 {
				continue
			}
			r.Digests = e.Digests[0].Sum
			r.Origins = []protocol.Origin{{Container: "rpm", Name: []byte("p"), Header: bytes.Clone(e.Origin.Header), Signature: e.Origin.Signature}}
			r.Claims = []protocol.Claim{{Path: []byte(e.Path)}}
		}
		change(r)
		return w.ask(r)
	}
	w.is(ask(func(*protocol.Request) {}), "")
	w.is(ask(func(r *protocol.Request) { r.Digests = random(sha256.Size) }), protocol.NotInHeader)
	w.is(ask(func(r *protocol.Request) { r.Origins[0].Header[len(r.Origins[0].Header)/2] ^= 1 }), protocol.NotInHeader)
	w.is(ask(func(r *protocol.Request) { r.Origins[0].Signature = nil }), protocol.NotInHeader)
	w.is(ask(func(r *protocol.Request) { r.Origins, r.Claims = nil, nil }), protocol.NotInHeader)
}
