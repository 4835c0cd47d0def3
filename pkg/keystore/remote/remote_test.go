package remote_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestSigning checks signatures, claims and verified receipts.
func TestSigning(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	w.file("log.keys", []byte("# the log\n"+s.verify+"\n"))
	options := w.options()
	var receipts []keystore.Receipt
	options.Receipt = func(r keystore.Receipt) { receipts = append(receipts, r) }
	key := w.open(w.uri("&log="+w.dir+"/log.keys", s), options)
	if !key.Slow || !key.Whole || key.Batch == 0 || key.Parallelism == 0 || key.Public.ID() != w.public.ID() || !key.VerifiesWith(w.public.Public()) {
		t.Errorf("got %+v", key)
	}
	origin := &ima.Origin{Container: "rpm", Name: "bash.rpm", Header: []byte("header"), Signature: []byte("signature")}
	claims := make([]ima.Claim, 300)
	for i := range claims {
		claims[i] = ima.Claim{Origin: origin, Path: strings.Repeat("x", i)}
	}
	values, err := ima.Sign(t.Context(), ima.WithClaims(key, claims), w.public, ima.ContentSignature(), ima.SHA256, digests(300))
	check(t, err)
	if len(values) != 300 {
		t.Errorf("got %d values", len(values))
	}
	verifier, err := note.NewVerifier(s.verify)
	check(t, err)
	for i, r := range receipts {
		proof, err := protocol.ParseProof(r.Proof)
		check(t, err)
		if _, err := proof.Check(r.Record, verifier); err != nil || proof.Index != int64(i) || r.Server != s.address() {
			t.Errorf("receipt %d: %d, %v", i, proof.Index, err)
		}
	}
	paths, ids := 0, map[string]bool{}
	for _, r := range s.requests {
		ids[string(r.ID)] = true
		if len(r.Origins) != 1 || r.Origins[0].Header != nil || string(r.Origins[0].Name) != "bash.rpm" {
			t.Errorf("origins %+v", r.Origins)
		}
		for _, c := range r.Claims {
			if len(c.Path) == paths {
				paths++
			}
		}
	}
	if len(receipts) != len(s.requests) || len(ids) != len(s.requests) || paths != 300 || len(w.warnings) != 0 {
		t.Errorf("%d receipts, %d requests, %d ids, %d paths, warnings %q", len(receipts), len(s.requests), len(ids), paths, w.warnings)
	}
}

// TestHeaders checks that package headers travel only if the service wants them, and that one
// that is too large is named.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	s := w.start(func(s *service) { s.headers = true })
	key := w.open(w.uri("", s), w.options())
	const size = 400 << 10
	claims := make([]ima.Claim, 5)
	for i := range claims {
		claims[i].Origin = &ima.Origin{Container: "rpm", Name: "p.rpm", Header: bytes.Repeat([]byte{byte(i)}, size), Signature: []byte("s")}
	}
	_, err := ima.Sign(t.Context(), ima.WithClaims(key, claims), w.public, ima.ContentSignature(), ima.SHA256, digests(5))
	check(t, err)
	if requests, n := s.count(); requests != 3 || n != 5 || len(s.requests[0].Origins) != 2 || len(s.requests[0].Origins[1].Header) != size {
		t.Errorf("%d requests of %d digests", requests, n)
	}
	claims[3].Origin.Header = make([]byte, protocol.MaxBody)
	claims[3].Origin.Name = "large.rpm"
	_, err = ima.Sign(t.Context(), ima.WithClaims(key, claims), w.public, ima.ContentSignature(), ima.SHA256, digests(5))
	if err == nil || !strings.Contains(err.Error(), "large.rpm: its header of 1048577 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestWithoutACertificate checks the warning about a key whose certificate comes from the
// service.
func TestWithoutACertificate(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	options := w.options()
	options.Certificate = nil
	key := w.open(w.uri("", s), options)
	if key.Public.ID() != w.public.ID() || len(w.warnings) != 1 || !strings.Contains(w.warnings[0], keystore.FromService) {
		t.Errorf("key id %s, warnings %q", key.Public.ID(), w.warnings)
	}
	_, err := ima.Sign(t.Context(), key, key.Public, ima.ContentSignature(), ima.SHA256, digests(2))
	check(t, err)
}
