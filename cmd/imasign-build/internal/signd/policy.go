package signd

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Policy is what a server may learn anew while it runs. It never changes.
type Policy struct {
	// Audiences are the names of this server in requests: host and port.
	Audiences []string
	// Requesters are those who may ask for signatures.
	Requesters []Requester
	// Judge decides about requests of known requesters.
	Judge Judge
	// Certificate is that of the server, with its key.
	Certificate tls.Certificate
	// Authorities are the CAs of client certificates.
	Authorities []*x509.Certificate
}

// clients returns the CAs of client certificates.
func (p *Policy) clients() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range p.Authorities {
		pool.AddCert(ca)
	}
	return pool
}

// Requester is somebody who signs requests.
type Requester struct {
	Name string
	// Key verifies its requests.
	Key ed25519.PublicKey
	// Certificate is the SHA-256 of the SubjectPublicKeyInfo of its client certificate.
	Certificate [sha256.Size]byte
	// Audit says that it may read the log.
	Audit bool
}

// Judge decides which requests are granted. [rules.Set] is one.
type Judge interface {
	// Judge returns a grant, or a *protocol.RefusedError.
	Judge(ctx context.Context, r *protocol.Request, requester string, key *ima.PublicKey, now time.Time) (rules.Grant, error)
	// WantsHeaders reports whether package headers decide about requests.
	WantsHeaders(requester, key string) bool
}

// Log keeps the records of requests.
type Log interface {
	// Reserve makes sure that there is space for so many bytes, until release is called.
	Reserve(bytes int64) (release func(), err error)
	// Append stores a record and its details. When it returns, they are on the disk. The
	// proof is that of [protocol.Receipt].
	Append(ctx context.Context, record, details []byte) (proof string, err error)
}

// byKey returns the requester whose requests key verifies, nil if there is none.
func (p *Policy) byKey(key []byte) *Requester {
	for i := range p.Requesters {
		if string(p.Requesters[i].Key) == string(key) {
			return &p.Requesters[i]
		}
	}
	return nil
}

// byCertificate returns the requesters with a client certificate.
func (p *Policy) byCertificate(spki [sha256.Size]byte) (list []*Requester) {
	for i := range p.Requesters {
		if p.Requesters[i].Certificate == spki {
			list = append(list, &p.Requesters[i])
		}
	}
	return list
}

// SetPolicy replaces the policy. Connections of certificates that are no longer those of a
// requester are closed, and all if there are other CAs. Requests that were judged before are still answered if they can be.
func (s *Server) SetPolicy(p *Policy) {
	old := s.policy.Swap(p)
	others := !old.clients().Equal(p.clients()) // the certificates of open connections may be theirs
	s.conns.revoke(func(spki [sha256.Size]byte) bool { return others || len(p.byCertificate(spki)) == 0 })
}

// SPKI returns the SHA-256 of the SubjectPublicKeyInfo of a certificate.
func SPKI(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}
