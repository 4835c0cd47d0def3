package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// attemptTimeout is how long a server may take for several digests if another one is up.
const attemptTimeout = 5 * time.Second

var (
	// errSlow means that a server took longer than attemptTimeout.
	errSlow = fmt.Errorf("no signatures within %s", attemptTimeout)
	// errLeft means that the caller no longer wants the signatures.
	errLeft = errors.New("interrupted")
)

// key is an [ima.Signer] and [ima.ClaimSigner].
type key struct {
	where   *location
	who     *identity
	client  *http.Client
	logs    []note.Verifier // nil if receipts are not verified
	options keystore.Options
	servers *servers
	pace    *pace
	headers atomic.Bool // a server wants package headers

	mu     sync.Mutex // guards the identity of the key until it is open
	public *ima.PublicKey
	spki   []byte
	fast   *libcrypto.Verifier // nil without libcrypto, and for ML-DSA

	receipts sync.Mutex
	receipt  func(keystore.Receipt) // nil if nobody wants them
}

// Sign signs digests of which nothing is claimed.
func (k *key) Sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	return k.SignClaims(ctx, f, h, digests, nil)
}

// SignClaims lets the service sign, and verifies the signatures.
func (k *key) SignClaims(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte, claims []ima.Claim) ([][]byte, error) {
	if len(claims) != len(digests) {
		claims = nil
	}
	rest := &batch{f, h, digests, claims}
	var signatures [][]byte
	for len(rest.digests) > 0 {
		part, err := k.first(rest, k.pace.limit())
		if err != nil {
			return nil, fmt.Errorf("sign with %s: %w", k.where, err)
		}
		n := len(part.digests)
		more, err := k.signOne(ctx, part)
		switch {
		case err == nil:
			signatures, rest = append(signatures, more...), rest.without(n)
		case n > 1 && isTooLarge(err):
			k.pace.tooMany(n)
		case n > 1 && errors.Is(err, errSlow):
			k.pace.took(n, 2*long)
		default:
			return nil, fmt.Errorf("sign with %s: %w", k.where, k.translate(err))
		}
	}
	return signatures, nil
}

// signOne gets the signatures of one request, from one server after the other.
func (k *key) signOne(parent context.Context, b *batch) ([][]byte, error) {
	ctx, cancel := context.WithTimeoutCause(parent, k.where.timeout, marked{fmt.Errorf("no server has signed within %s", k.where.timeout), keystore.ErrGone})
	defer cancel()
	for foreign := 0; ; {
		server, err := k.servers.take(ctx)
		if parent.Err() != nil {
			return nil, context.Cause(parent)
		}
		if err != nil {
			return nil, err
		}
		signatures, err := k.try(ctx, server, b)
		if err != nil && parent.Err() != nil {
			k.servers.give(server, errLeft)
			return nil, context.Cause(parent)
		}
		if isOwn(err) {
			k.servers.give(server, errLeft)
			return nil, err
		}
		if err != nil && ctx.Err() != nil {
			k.servers.give(server, errLeft)
			return nil, k.servers.explain(inTime(ctx, server))
		}
		k.servers.give(server, err)
		if errors.Is(err, errForeign) {
			foreign++
		}
		if err == nil || !isElsewhere(err) || foreign >= len(k.where.servers) {
			return signatures, inServer(server.address, err)
		}
	}
}

// inTime returns the error of a request whose time ended while a server worked on it.
func inTime(ctx context.Context, s *server) error {
	return fmt.Errorf("%w: %s has not answered", context.Cause(ctx), s.address)
}

// try asks one server.
func (k *key) try(ctx context.Context, s *server, b *batch) ([][]byte, error) {
	if len(b.digests) > 1 && k.servers.others(s) {
		limited, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errSlow)
		defer cancel()
		ctx = limited
	}
	started := time.Now()
	answer, err := k.ask(ctx, s.address, b)
	switch {
	case err == nil:
		k.pace.took(len(b.digests), time.Since(started))
		err = k.verify(b, answer.Signatures)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	k.keep(s.address, b, answer)
	return answer.Signatures, nil
}

// isOwn reports whether no server is to blame.
func isOwn(err error) bool {
	return errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, errForeign)
}

// isElsewhere reports whether another attempt may have another result.
func isElsewhere(err error) bool {
	var r *refused
	if errors.As(err, &r) {
		return r.Code.Elsewhere()
	}
	return !errors.Is(err, errSlow)
}

// isTooLarge reports whether fewer digests may be signed.
func isTooLarge(err error) bool {
	var r *refused
	return errors.As(err, &r) && r.Code == protocol.TooLarge
}

func (k *key) close() error {
	k.servers.close()
	k.client.CloseIdleConnections()
	return nil
}
