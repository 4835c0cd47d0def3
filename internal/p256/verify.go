package p256

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"math/big"

	"filippo.io/nistec"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const scalarSize = 32 // bytes, big-endian

// multiples of a public key Q: [i][j-1] is j·256^i·Q, so that a scalar's bytes, from
// the lowest to the highest, say what to add up.
type multiples [scalarSize][255]nistec.P256Point

func newMultiples(public *ecdsa.PublicKey) (*multiples, error) {
	encoded, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("p256: public key: %w", err)
	}
	base, err := nistec.NewP256Point().SetBytes(encoded)
	if err != nil {
		return nil, fmt.Errorf("p256: public key: %w", err)
	}
	m := new(multiples)
	for i := range m {
		row := &m[i]
		row[0].Set(base)
		for j := 1; j < len(row); j++ {
			row[j].Add(&row[j-1], base)
		}
		base = nistec.NewP256Point().Add(&row[len(row)-1], base)
	}
	return m, nil
}

// add adds scalar·Q to sum.
func (m *multiples) add(sum *nistec.P256Point, scalar *[scalarSize]byte) {
	for i := range m {
		if b := scalar[scalarSize-1-i]; b != 0 {
			sum.Add(sum, &m[i][b-1])
		}
	}
}

// verify reports whether every signature is one of its digest: FIPS 186-5, 6.4.2.
func (m *multiples) verify(digests, signatures [][]byte) bool {
	list := make([]parsed, len(signatures))
	for i, signature := range signatures {
		if !list[i].parse(signature) {
			return false
		}
	}
	invert(list)
	var room scratch
	for i, digest := range digests {
		if !m.verifyOne(digest, &list[i], &room) {
			return false
		}
	}
	return true
}

// scratch is what one verification leaves to the next.
type scratch struct {
	z, u   big.Int
	u1, u2 [scalarSize]byte
	sum    nistec.P256Point
}

func (m *multiples) verifyOne(digest []byte, p *parsed, room *scratch) bool {
	n := elliptic.P256().Params().N
	// The leftmost 256 bits of a longer digest, all of a shorter one.
	room.z.SetBytes(digest[:min(len(digest), scalarSize)])
	room.u.Mul(&room.z, &p.w)
	room.z.Mod(&room.u, n).FillBytes(room.u1[:])
	room.u.Mul(&p.r, &p.w)
	room.z.Mod(&room.u, n).FillBytes(room.u2[:])
	if _, err := room.sum.ScalarBaseMult(room.u1[:]); err != nil {
		return false
	}
	m.add(&room.sum, &room.u2)
	x, err := room.sum.BytesX()
	if err != nil { // the point at infinity has none
		return false
	}
	room.u.SetBytes(x)
	return room.z.Mod(&room.u, n).Cmp(&p.r) == 0
}

// parsed is a signature: r, s and, once inverted, w = 1/s.
type parsed struct{ r, s, w big.Int }

// parse takes ECDSA-Sig-Value (RFC 3279, 2.2.3) in strict DER with 0 < r, s < n.
func (p *parsed) parse(signature []byte) bool {
	var inner cryptobyte.String
	input := cryptobyte.String(signature)
	return input.ReadASN1(&inner, asn1.SEQUENCE) && input.Empty() &&
		inner.ReadASN1Integer(&p.r) && inner.ReadASN1Integer(&p.s) && inner.Empty() &&
		inRange(&p.r) && inRange(&p.s)
}

func inRange(v *big.Int) bool { return v.Sign() > 0 && v.Cmp(elliptic.P256().Params().N) < 0 }

// invert sets every w with a single inversion, of the product of all (Montgomery's
// trick): it costs as much as a hundred multiplications.
func invert(list []parsed) {
	n := elliptic.P256().Params().N
	product := big.NewInt(1)
	for i := range list { // w: the product of all s before
		list[i].w.Set(product)
		product.Mul(product, &list[i].s).Mod(product, n)
	}
	inverse := product.ModInverse(product, n)
	for i := len(list) - 1; i >= 0; i-- {
		p := &list[i]
		p.w.Mul(&p.w, inverse).Mod(&p.w, n)
		inverse.Mul(inverse, &p.s).Mod(inverse, n)
	}
}
