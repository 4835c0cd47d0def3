package remote

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// errWrongKey means that a server has another key of this name.
var errWrongKey = fmt.Errorf("%w: the server has another key", keystore.ErrCertificateMismatch)

// marked is an error that also is a sentinel of package keystore, whose text does not fit.
type marked struct {
	error

	sentinel error
}

func (m marked) Unwrap() []error { return []error{m.error, m.sentinel} }

// inServer names the server in an error.
func inServer(address string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", address, err)
}

// unwrapURL removes what http.Client adds to an error: the method and the URL.
func unwrapURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return err
}

// isClosed reports whether a server closed the connection without an answer.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		strings.Contains(err.Error(), "client conn could not be established")
}

// explainTLS says what to do about a failed handshake.
func explainTLS(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch text := err.Error(); {
	case errors.As(err, &authority):
		return fmt.Errorf("its certificate is by an unknown authority: ca=FILE names the authority of the service (%w)", quote.Plain(err))
	case errors.As(err, &host), errors.As(err, &invalid):
		return fmt.Errorf("its certificate is refused (%w)", quote.Plain(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens there: start the service, or correct its address (%w)", err)
	case strings.Contains(text, "protocol version not supported"):
		return fmt.Errorf("it does not speak TLS 1.3 (%w)", err)
	case isClosed(err):
		return fmt.Errorf("it closed the connection, as it does when it ends, or refuses the client certificate (%w)", err)
	case strings.Contains(text, "remote error: tls: "):
		return fmt.Errorf("it refuses the client certificate: the authority of the service must have issued it, and it must not be expired (%w)", err)
	}
	return err
}

// translate adds to refusals what to do about them, and the sentinel of package keystore.
func (k *key) translate(err error) error {
	var r *refused
	if !errors.As(err, &r) {
		var all *noServerError
		if errors.As(err, &all) && !errors.Is(err, keystore.ErrCertificateMismatch) && !errors.Is(err, errFalse) {
			return marked{err, keystore.ErrGone}
		}
		return err
	}
	sentinel, advice := keystore.ErrKeyUse, ""
	switch r.Code {
	case protocol.UnknownKey:
		sentinel = keystore.ErrNotFound
	case protocol.UnknownRequester:
		advice = "; the key of this requester is " + base64.StdEncoding.EncodeToString(k.who.key.Public().(ed25519.PublicKey))
	case protocol.WrongTime:
		advice = clockAdvice(r.clock)
	case protocol.KeyFailed, protocol.LogFailed, protocol.Busy, protocol.Draining:
		sentinel = keystore.ErrGone
	}
	return marked{fmt.Errorf("%w%s", err, advice), sentinel}
}

// clockAdvice says how far the clocks are apart.
func clockAdvice(ahead time.Duration) string {
	switch {
	case ahead > time.Minute:
		return fmt.Sprintf("; the clock here is %s ahead of the server's: set it", ahead)
	case ahead < -time.Minute:
		return fmt.Sprintf("; the clock here is %s behind the server's: set it", -ahead)
	}
	return "; the clocks agree now"
}
