package protocol_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// A vectorMaker makes vectors with fixed keys.
type vectorMaker struct {
	testing.TB

	made    vectors
	private *ecdsa.PrivateKey
	spki    []byte
	public  *ima.PublicKey
	log     note.Signer
	records []tlog.Hash // stored hashes
}

func makeVectors(t testing.TB) *vectors {
	m := &vectorMaker{TB: t}
	m.made.Comment = "Vectors of version 1 of the signing service's protocol; docs/protocol.md explains them. Keys, bodies, digests and signatures are in hex."
	m.keys()
	for i, form := range forms() {
		m.batch(form, i+1)
	}
	m.refused()
	m.roots()
	m.others()
	return &m.made
}

// SignRaw signs without randomness (RFC 6979).
func (m *vectorMaker) SignRaw(_ context.Context, h crypto.Hash, messages [][]byte) (signatures [][]byte, err error) {
	for _, message := range messages {
		signature, err := m.private.Sign(nil, message, h)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	return signatures, nil
}

func (m *vectorMaker) keys() {
	var err error
	scalar := bytes.Repeat([]byte{3}, 32)
	m.private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	m.must(err)
	m.spki, err = x509.MarshalPKIXPublicKey(&m.private.PublicKey)
	m.must(err)
	m.public, err = ima.BareKey(&m.private.PublicKey)
	m.must(err)
	m.public, err = m.public.For(ima.ForAny)
	m.must(err)
	m.made.Key = keyVector{hex.EncodeToString(scalar), hex.EncodeToString(m.spki)}
	m.made.Requester = keyVector{hex.EncodeToString(key(1).Seed()), hex.EncodeToString(key(1).Public().(ed25519.PublicKey))}
	m.made.Log = keyVector{hex.EncodeToString(key(4).Seed()), hex.EncodeToString(key(4).Public().(ed25519.PublicKey))}
	const name = "signer.example.com"
	public := append([]byte{1}, key(4).Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	id := fmt.Sprintf("%s+%08x+", name, binary.BigEndian.Uint32(sum[:]))
	m.made.LogKey = id + base64.StdEncoding.EncodeToString(public)
	m.log, err = note.NewSigner("PRIVATE+KEY+" + id + base64.StdEncoding.EncodeToString(append([]byte{1}, key(4).Seed()...)))
	m.must(err)
}

func forms() []ima.Form {
	return []ima.Form{ima.ContentSignature(), ima.ContentSignature().V3(), ima.VeritySignature(), ima.PortableSignature(), ima.PortableSignature().V3()}
}

// batch makes a request in a form, the answer, and the record with its details.
func (m *vectorMaker) batch(form ima.Form, number int) {
	r := request()
	name := fmt.Sprintf("type %d version %d", form.Type, form.Version)
	r.ID, r.Type, r.Signature = bytes.Repeat([]byte{byte(number)}, protocol.IDSize), uint8(form.Type), form.Version
	switch {
	case form.Over == ima.Metadata:
		for i := range r.Claims {
			r.Claims[i].IMA = ima.DigestValue(ima.SHA256, r.Split()[i])
		}
	case form.Over == ima.Verity:
		sum := sha512.Sum512([]byte("one"))
		r.Hash, r.Digests, r.Claims, r.Origins = uint8(ima.SHA512), sum[:], nil, nil
	case form.Version == 3:
		r.Origins[0].Header, r.Origins[0].Signature = []byte("header"), []byte("signature")
	}
	m.request(name, r)
	values, err := ima.Sign(context.Background(), ima.FromRaw(m, m.public), m.public, form, ima.HashID(r.Hash), r.Split())
	m.must(err)
	a := &protocol.Answer{Version: 1, ID: r.ID}
	var leaves []tlog.Hash
	for i, value := range values {
		v, err := ima.Parse(value)
		m.must(err)
		a.Signatures = append(a.Signatures, v.Signature)
		leaves = append(leaves, m.leaf(r, r.Split()[i], v.Signature))
	}
	root := protocol.Root(leaves)
	a.Receipt.Record, a.Receipt.Proof = m.record(name, r, leaves, func(x *protocol.Record) { x.Rule, x.Root = "images", root[:] })
	m.made.Answers = append(m.made.Answers, bodyVector{name, m.hex(a.Encode())})
}

func (m *vectorMaker) request(name string, r *protocol.Request) {
	body, err := protocol.Seal(r, key(1))
	m.must(err)
	// An envelope is an array of two byte strings. The second has 64 bytes, after two of its head.
	head := 2
	switch body[1] {
	case 0x58:
		head = 3
	case 0x59:
		head = 4
	}
	m.made.Requests = append(m.made.Requests, reqVector{bodyVector{name, hex.EncodeToString(body)}, hex.EncodeToString(body[head : len(body)-66])})
}

func (m *vectorMaker) leaf(r *protocol.Request, digest, signature []byte) tlog.Hash {
	spki := sha256.Sum256(m.spki)
	leaf := protocol.Leaf(spki, r.Type, r.Signature, r.Hash, digest, signature)
	m.made.Leaves = append(m.made.Leaves, leafVector{
		hex.EncodeToString(spki[:]), r.Type, r.Signature, r.Hash,
		hex.EncodeToString(digest), hex.EncodeToString(signature), hex.EncodeToString(leaf[:]),
	})
	return leaf
}

// record adds a record to the log, and returns it with its proof.
func (m *vectorMaker) record(name string, r *protocol.Request, leaves []tlog.Hash, decide func(*protocol.Record)) (encoded []byte, proof string) {
	d := protocol.Details{Version: 1, Digests: r.Digests, Claims: r.Claims}
	for _, o := range r.Origins {
		d.Origins = append(d.Origins, protocol.Origin{Container: o.Container, Name: o.Name})
	}
	for _, leaf := range leaves {
		d.Leaves = append(d.Leaves, leaf[:]...)
	}
	details, err := d.Encode()
	m.must(err)
	sum, spki := sha256.Sum256(details), sha256.Sum256(m.spki)
	x := &protocol.Record{
		Version: 1, Time: r.Time + 1, Requester: "ci", RequesterKey: r.Requester, ID: r.ID, Key: r.Key, SPKI: spki[:],
		Type: r.Type, Signature: r.Signature, Hash: r.Hash, Digests: uint64(len(r.Split())), Details: sum[:],
	}
	decide(x)
	encoded, err = x.Encode()
	m.must(err)
	proof = m.prove(encoded)
	m.made.Records = append(m.made.Records, recVector{name, hex.EncodeToString(encoded), hex.EncodeToString(details), proof})
	return encoded, proof
}

// prove adds a record to the log.
func (m *vectorMaker) prove(record []byte) string {
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, m.records[i])
		}
		return list, nil
	})
	n := int64(len(m.made.Records))
	more, err := tlog.StoredHashes(n, record, reader)
	m.must(err)
	m.records = append(m.records, more...)
	root, err := tlog.TreeHash(n+1, reader)
	m.must(err)
	hashes, err := tlog.ProveRecord(n+1, n, reader)
	m.must(err)
	checkpoint, err := note.Sign(&note.Note{Text: protocol.Checkpoint{Origin: m.log.Name(), Size: n + 1, Root: root}.Text()}, m.log)
	m.must(err)
	p := protocol.Proof{Index: n, Hashes: hashes, Checkpoint: checkpoint}
	return p.Text()
}

// refused makes the records of requests that were refused.
func (m *vectorMaker) refused() {
	r := request()
	r.ID = bytes.Repeat([]byte{6}, protocol.IDSize)
	m.record("refused", r, nil, func(x *protocol.Record) { x.Refusal, x.More = protocol.Quota, 300 })
	r.ID = bytes.Repeat([]byte{7}, protocol.IDSize)
	m.record("unknown key", r, nil, func(x *protocol.Record) { x.Refusal, x.SPKI = protocol.UnknownKey, nil })
	approved := sha256.Sum256([]byte("manifest"))
	m.record("approved", r, []tlog.Hash{{1}, {2}}, func(x *protocol.Record) {
		root := protocol.Root([]tlog.Hash{{1}, {2}})
		x.Rule, x.Root, x.Manifests = "release", root[:], [][]byte{approved[:]}
	})
}

func (m *vectorMaker) roots() {
	var leaves []tlog.Hash
	for n := range 10 {
		v := rootVector{Leaves: []string{}}
		for _, leaf := range leaves {
			v.Leaves = append(v.Leaves, hex.EncodeToString(leaf[:]))
		}
		root := protocol.Root(leaves)
		v.Root = hex.EncodeToString(root[:])
		m.made.Roots = append(m.made.Roots, v)
		leaves = append(leaves, tlog.RecordHash([]byte{byte(n)}))
	}
}

func (m *vectorMaker) others() {
	for _, code := range codes(m) {
		m.made.Refusals = append(m.made.Refusals, refVector{code, code.Status(), code.Elsewhere(), m.hex(protocol.Refuse(code, "why, and what to do").Encode())})
	}
	full := &protocol.KeyInfo{Version: 1, Name: "image", SPKI: m.spki, Certificate: []byte("certificate"), Log: m.made.LogKey, Headers: true}
	m.made.KeyInfos = []bodyVector{
		{"everything", m.hex(full.Encode())},
		{"bare", m.hex((&protocol.KeyInfo{Version: 1, Name: "image", SPKI: m.spki}).Encode())},
	}
	m.made.Found = []bodyVector{{"0, none, 1000", m.hex(protocol.EncodeFound([]int64{0, -1, 1000}))}}
	m.approval()
	for name, text := range variants() {
		m.made.NotCanonical = append(m.made.NotCanonical, bodyVector{name, hex.EncodeToString(unhex(m, text))})
	}
	slices.SortFunc(m.made.NotCanonical, func(a, b bodyVector) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	body := unhex(m, m.made.Requests[0].Body)
	flip := func(at int) string {
		b := bytes.Clone(body)
		b[at] ^= 1
		return hex.EncodeToString(b)
	}
	m.made.NotOpened = []badVector{
		{bodyVector{"signature changed", flip(len(body) - 1)}, protocol.BadSignature},
		{bodyVector{"digest changed", flip(bytes.Index(body, request().Digests))}, protocol.BadSignature},
		{bodyVector{"cut", hex.EncodeToString(body[:len(body)-1])}, protocol.Malformed},
		{bodyVector{"longer", hex.EncodeToString(append(bytes.Clone(body), 0))}, protocol.Malformed},
		{bodyVector{"payload alone", m.made.Requests[0].Payload}, protocol.Malformed},
	}
}

// approval makes an approval by a key of its own.
func (m *vectorMaker) approval() {
	scalar := bytes.Repeat([]byte{5}, 32)
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	m.must(err)
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	m.must(err)
	m.made.Approver = keyVector{hex.EncodeToString(scalar), hex.EncodeToString(public)}
	spki, approved := sha256.Sum256(m.spki), sha256.Sum256([]byte("manifest"))
	a := &protocol.Approval{Version: 1, SPKI: spki[:], Type: 3, Signature: 2, Hash: 4, Manifest: approved[:], Origin: "release", Made: 1700000000, NotAfter: 1700086400}
	file, err := protocol.SealApproval(a, func(message []byte) ([]byte, error) {
		sum := sha256.Sum256(message)
		return private.Sign(nil, sum[:], crypto.SHA256)
	})
	m.made.Approvals = []bodyVector{{"release", m.hex(file, err)}}
}

func (m *vectorMaker) hex(body []byte, err error) string {
	m.must(err)
	return hex.EncodeToString(body)
}

func (m *vectorMaker) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// codes are all codes, in the order of their declaration.
func codes(t testing.TB) (list []protocol.Code) {
	t.Helper()
	source, err := os.ReadFile("refusal.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(source) {
		fields := bytes.Fields(line)
		if len(fields) > 3 && string(fields[1]) == "Code" && string(fields[2]) == "=" {
			list = append(list, protocol.Code(bytes.Trim(fields[3], `"`)))
		}
	}
	if len(list) < 10 {
		t.Fatalf("only %d codes", len(list))
	}
	return list
}
