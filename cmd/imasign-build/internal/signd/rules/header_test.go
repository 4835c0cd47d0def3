package rules_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

const vectors = "../../../../../pkg/rpmsign/testdata/rpmsign-ima/"

// bound is a rule that wants package headers signed by the keys of the vectors.
func bound(t testing.TB) rules.Rule {
	t.Helper()
	keyring, err := os.ReadFile(vectors + "keys/openpgp-ed25519.asc")
	check(t, err)
	more, err := os.ReadFile(vectors + "keys/openpgp-rsa2048.asc")
	check(t, err)
	c, err := pkgheader.New(append(keyring, more...), time.Time{})
	check(t, err)
	return image(func(r *rules.Rule) { r.Name, r.Header, r.Quota = "packages", c, 100 })
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// packageRequest asks for the digests of packages of the vectors, with their headers.
func packageRequest(t testing.TB, names ...string) *protocol.Request {
	t.Helper()
	r := request(0)
	r.Time = noon.Unix()
	for i, name := range names {
		p, err := rpmsign.Open(vectors+name, rpmsign.Options{})
		check(t, err)
		for e, err := range p.Entries(context.Background()) {
			check(t, err)
			if len(r.Origins) == i {
				r.Origins = append(r.Origins, protocol.Origin{Container: "rpm", Name: []byte(name), Header: e.Origin.Header, Signature: e.Origin.Signature})
			}
			if len(e.Digests) > 0 {
				r.Digests = append(r.Digests, e.Digests[0].Sum...)
				r.Claims = append(r.Claims, protocol.Claim{Origin: uint64(i), Path: []byte(e.Path)})
			}
		}
		check(t, p.Close())
		if o := &r.Origins[i]; len(o.Signature) == 0 { // rpmsign signed two packages with the same files
			o.Signature = signHeader(t, o.Header)
		}
	}
	check(t, r.Check())
	return r
}

// signHeader signs a header with a key of the vectors, at noon.
func signHeader(t testing.TB, header []byte) []byte {
	t.Helper()
	text, err := os.ReadFile(vectors + "keys/openpgp-ed25519.secret.asc")
	check(t, err)
	keys, err := rpmsign.ReadKeyRing(text)
	check(t, err)
	var out bytes.Buffer
	check(t, openpgp.DetachSign(&out, keys[0], bytes.NewReader(header), &packet.Config{Time: func() time.Time { return noon }}))
	return out.Bytes()
}

func TestDigestsInSignedHeaders(t *testing.T) {
	s := newSet(t, new(rules.Usage), bound(t))
	r := packageRequest(t, "v4/openpgp-ed25519.rpm", "v4/rich.rpm")
	grant, err := s.Judge(t.Context(), r, "ci", nil, noon)
	if err != nil || grant.Rule != "packages" || len(r.Split()) < 4 {
		t.Fatalf("got %q, %v for %d digests", grant.Rule, err, len(r.Split()))
	}
	if !s.WantsHeaders("ci", "image") || s.WantsHeaders("dev", "image") || s.WantsHeaders("ci", "other") {
		t.Error("headers are wanted of others")
	}
	malware := bytes.Repeat([]byte{0xbd}, 32)
	for name, c := range map[string]struct {
		change func(*protocol.Request)
		words  string
	}{
		"no claims": {func(r *protocol.Request) { r.Claims = nil }, "does not say which package"},
		"no header": {func(r *protocol.Request) { r.Origins[0].Header, r.Origins[0].Signature = nil, nil }, `package "v4/openpgp-ed25519.rpm": the package header is refused`},
		"no signature": {func(r *protocol.Request) { r.Origins[0].Signature = nil },
			`package "v4/openpgp-ed25519.rpm": the signature of the package header is refused: there is none over the header alone`},
		"another package's signature": {func(r *protocol.Request) { r.Origins[1].Signature = r.Origins[0].Signature }, `package "v4/rich.rpm": the signature`},
		"malware with another package's header": {func(r *protocol.Request) { copy(r.Digests[32:], malware) },
			`package "v4/openpgp-ed25519.rpm": no file in its header has the sha256 digest bdbdbd`},
		"a digest of the other package": {func(r *protocol.Request) { r.Claims[len(r.Claims)-1].Origin = 0 }, `package "v4/openpgp-ed25519.rpm": no file`},
		"a changed header": {func(r *protocol.Request) {
			h := bytes.Clone(r.Origins[0].Header)
			at := bytes.Index(h, []byte("imatest"))
			h[at] = 'I'
			r.Origins[0].Header = h
		}, `the signature of the package header is refused: key`},
		"another hash": {func(r *protocol.Request) { r.Hash = uint8(ima.SHA3_256) }, "no file in its header has the sha3-256 digest"},
		"a line break in a name": {func(r *protocol.Request) { r.Origins[0] = protocol.Origin{Container: "rpm", Name: []byte("a\nb\xff")} },
			`package "a\nb\xff": the package header`},
	} {
		r := packageRequest(t, "v4/openpgp-ed25519.rpm", "v4/rich.rpm")
		c.change(r)
		_, err := s.Judge(t.Context(), r, "ci", nil, noon)
		refused(t, err, protocol.NotInHeader, c.words)
		if err == nil || !strings.HasPrefix(err.Error(), "refused (not-in-header): rule packages: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusedHeadersUseNoQuota checks the order: a refusal leaves the quota, and a used quota
// is refused before any header is read.
func TestRefusedHeadersUseNoQuota(t *testing.T) {
	rule := bound(t)
	r := packageRequest(t, "v4/openpgp-ed25519.rpm")
	rule.Quota = int64(len(r.Split()))
	s := newSet(t, new(rules.Usage), rule)
	bad := packageRequest(t, "v4/openpgp-ed25519.rpm")
	bad.Origins[0].Signature = nil
	_, err := s.Judge(t.Context(), bad, "ci", nil, noon)
	refused(t, err, protocol.NotInHeader, "")
	_, err = s.Judge(t.Context(), r, "ci", nil, noon)
	check(t, err)
	_, err = s.Judge(t.Context(), bad, "ci", nil, noon)
	refused(t, err, protocol.Quota, "0 of")
}

// TestThePlainRuleAfterHeaders checks that digests outside of a header come under a later rule.
func TestThePlainRuleAfterHeaders(t *testing.T) {
	s := newSet(t, new(rules.Usage), bound(t), image(nil))
	grant, err := s.Judge(t.Context(), request(2), "ci", nil, noon)
	if err != nil || grant.Rule != "images" {
		t.Errorf("got %q, %v", grant.Rule, err)
	}
	other := request(2)
	other.Signature = 3
	_, err = s.Judge(t.Context(), other, "ci", nil, noon)
	refused(t, err, protocol.NoRule, "rule packages") // of rules that came equally far, the first
}

func TestHeaderRulesAreAboutContent(t *testing.T) {
	rule := bound(t)
	rule.Forms = []ima.Form{ima.PortableSignature()}
	_, err := rules.New([]rules.Rule{rule}, new(rules.Usage))
	if err == nil || !strings.Contains(err.Error(), `rule "packages": package headers have no metadata of files`) {
		t.Errorf("got %v", err)
	}
}

func TestHeadersEndWithTheContext(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	_, err := newSet(t, new(rules.Usage), bound(t)).Judge(ctx, packageRequest(t, "v4/openpgp-ed25519.rpm"), "ci", nil, noon)
	if !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}
