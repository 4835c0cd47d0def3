// Package remote signs with keys of a signing service. [New] returns the backend of package
// keystore for https: URIs, for example
//
//	https://s1.example.com:7443,s2.example.com:7443/image?identity=/etc/imasign/ci.pem&ca=/etc/imasign/ca.crt
//
// The servers before the path all have the key of this name. A batch goes to one of them. If
// that server fails, refuses for the moment, or takes too long, the batch goes to another.
//
// The attributes are:
//
//	identity     the requester's Ed25519 key (PEM, PKCS #8), and normally its client certificate
//	ca           the authorities of the servers' certificates; default: those of the system
//	client-cert  the client certificate, if identity does not have it
//	client-key   the key of the client certificate, if it is not that of the requester
//	log          the keys of the servers' logs, one in a line, to verify receipts with
//	timeout      how long a batch may take with all its attempts; default: 2m
//
// Values that name a file may also be env:NAME, file:PATH, fd:N or cred:NAME.
//
// The service holds the key, and says so by a certificate. Options.Certificate should be the
// same one: a service is trusted to sign, not to say which key a device accepts. Each signature
// is verified. A server that made a wrong one, or has another key, is not used again, and Options.Warn
// is told which server that is. With log, nothing that the log lacks is accepted.
//
// Only HTTP/2 over TLS 1.3 is spoken, without proxies and redirects. Package protocol has the
// messages.
package remote

import (
	"context"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// New returns the backend for https: URIs. It makes no keys. decrypt reads encrypted PKCS #8:
// it returns the key in clear, and asks secret for the passphrase of name. If it is nil,
// encrypted keys are refused.
//
// Errors wrap [ErrURI] or the sentinels of package keystore: ErrNotFound (no such key in the
// service), ErrGone (no server answers), ErrKeyUse (refused), ErrNotAKey, ErrUnsupportedKey,
// ErrPassphraseNeeded, ErrWrongPassphrase, ErrCertificateMismatch. The errors of refusals
// also wrap *protocol.RefusedError.
func New(decrypt func(ctx context.Context, name string, der []byte, secret keystore.Secret) ([]byte, error)) keystore.Backend {
	o := opener{decrypt}
	return keystore.Backend{Scheme: "https", Open: o.open}
}

// opener opens keys.
type opener struct {
	decrypt func(ctx context.Context, name string, der []byte, secret keystore.Secret) ([]byte, error)
}
