package protocol_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// fuzz decodes bytes as one kind of message. What is read must be read from its only encoding.
func fuzz(f *testing.F, kind string) {
	for _, body := range seeds(f) {
		f.Add(body)
	}
	var of decoder
	for _, d := range decoders() {
		if d.name == kind {
			of = d
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		again, err := of.decode(body)
		switch {
		case err == nil && !bytes.Equal(again, body):
			t.Errorf("%x is read as %x", body, again)
		case err != nil && !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrSignature):
			t.Errorf("%x: %v", body, err)
		}
	})
}

// seeds are the vectors, other encodings, and messages that announce long ones.
func seeds(t testing.TB) (list [][]byte) {
	v := makeVectors(t)
	add := func(texts ...string) {
		for _, text := range texts {
			list = append(list, unhex(t, text))
		}
	}
	for i := range v.Requests {
		add(v.Requests[i].Body, v.Requests[i].Payload, v.Answers[i].Body)
	}
	for _, r := range v.Records {
		add(r.Record, r.Details)
	}
	for _, b := range slices.Concat(v.KeyInfos, v.Found, v.Approvals, v.NotCanonical) {
		add(b.Body)
	}
	add(v.Refusals[0].Body)
	add(claimed()...)
	return list
}

func FuzzOpen(f *testing.F)          { fuzz(f, "request") }
func FuzzDecodeAnswer(f *testing.F)  { fuzz(f, "answer") }
func FuzzDecodeRecord(f *testing.F)  { fuzz(f, "record") }
func FuzzDecodeDetails(f *testing.F) { fuzz(f, "details") }
func FuzzDecodeKeyInfo(f *testing.F) { fuzz(f, "key") }
func FuzzDecodeRefusal(f *testing.F) { fuzz(f, "refusal") }
func FuzzDecodeFound(f *testing.F)   { fuzz(f, "found") }

// FuzzPayload reads requests whose signature is valid, so that all of their content is judged.
func FuzzPayload(f *testing.F) {
	for _, r := range makeVectors(f).Requests {
		f.Add(unhex(f, r.Payload))
	}
	for _, text := range claimed() {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		signature := ed25519.Sign(key(1), append([]byte("imasign-build signing request v1\n"), payload...))
		body := append(append(append([]byte{0x82}, head(payload)...), payload...), 0x58, 64)
		body = append(body, signature...)
		r, err := protocol.Open(body)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrSignature) {
				t.Errorf("%x: %v", payload, err)
			}
			return
		}
		if again, err := protocol.Seal(r, key(1)); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%x is read as %+v: %v", payload, r, err)
		}
	})
}

// head is the shortest head of a byte string (RFC 8949, section 3).
func head(b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return []byte{0x40 + byte(n)}
	case n < 1<<8:
		return []byte{0x58, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{0x59}, uint16(n))
	default:
		return binary.BigEndian.AppendUint32([]byte{0x5a}, uint32(n))
	}
}
