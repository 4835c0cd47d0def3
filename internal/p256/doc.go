// Package p256 signs with ECDSA on P-256 and verifies every signature with the public
// key of the certificate, for less than half of what a verification costs elsewhere.
//
// Who signs thirty thousand digests verifies thirty thousand signatures with one and
// the same key. A verification (FIPS 186-5, 6.4.2) is u1·G + u2·Q, and almost all of
// its time goes into u2·Q, because Q may be any point. Here Q is known long before, and
// so a table of its multiples turns u2·Q into 32 additions. The table takes 780 kB and
// as long as some fifty ordinary verifications; it is made with the first signature.
//
// The private key is used by crypto/ecdsa alone, with the nonces of RFC 6979. The table,
// the index into it and math/big, whose time depends on what it computes, see nothing
// but the public key, digests and signatures. The points are filippo.io/nistec's, the
// exported form of what crypto/ecdsa itself computes with.
package p256
