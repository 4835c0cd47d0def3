package signd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

const (
	firstRetry = time.Second // after a key has failed
	lastRetry  = time.Minute
	openLimit  = 30 * time.Second // for opening it again
)

// Key is a signing key of a server. It survives that a token or a TPM goes away.
type Key struct {
	name   string
	public *ima.PublicKey
	der    []byte // SubjectPublicKeyInfo
	spki   [sha256.Size]byte
	open   func(context.Context) (*keystore.Key, error)
	queue  queue
	note   func(string)
	meter  *keyMeter

	mu     sync.Mutex // not held while something waits for a device
	key    *lent      // nil if it has failed
	err    error      // why there is no key
	retry  time.Time  // when to open it again; zero for never
	pause  time.Duration
	tries  bool // somebody opens it
	closed bool
}

// lent is an open key, with the number of calls that use it. The last one closes it if it is no longer
// the key that is used.
type lent struct {
	*keystore.Key

	users   int
	dropped bool
}

// OpenKey opens a key. open is called again when the key fails, later and later, and must then return a key
// with the same public key.
func OpenKey(ctx context.Context, name string, open func(context.Context) (*keystore.Key, error)) (*Key, error) {
	opened, err := open(ctx)
	if err != nil {
		return nil, err
	}
	der, err := spkiOf(opened.Public)
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	k := &Key{name: name, public: opened.Public, der: der, spki: sha256.Sum256(der), open: open, key: &lent{Key: opened}, note: func(string) {}, meter: &keyMeter{}}
	k.queue = queue{sign: k.sign, workers: workersFor(opened.Parallelism), chunk: opened.Batch}
	return k, nil
}

// Name returns the name of the key.
func (k *Key) Name() string { return k.name }

// Public returns the public key.
func (k *Key) Public() *ima.PublicKey { return k.public }

// spkiOf returns the SubjectPublicKeyInfo of a key.
func spkiOf(key *ima.PublicKey) ([]byte, error) {
	if cert := key.Certificate(); cert != nil {
		return cert.RawSubjectPublicKeyInfo, nil
	}
	return mldsa.MarshalPKIXPublicKey(key.Public())
}

// observe makes the key count and report what happens to it.
func (k *Key) observe(m *metrics, note func(string)) { k.meter, k.note = m.key(k.name), note }

// Close releases the key. If it still signs, the end of that closes it.
func (k *Key) Close() error {
	k.mu.Lock()
	key := k.key
	k.closed = true
	k.key, k.err, k.retry = nil, keystore.ErrClosed, time.Time{}
	idle := key.drop()
	k.mu.Unlock()
	if !idle {
		return nil
	}
	return key.Close()
}

// drop marks a key as one that is no longer used. It reports whether the caller must close it.
func (l *lent) drop() bool {
	if l == nil {
		return false
	}
	l.dropped = true
	return l.users == 0
}

// borrow returns the key, until giveBack, or why there is none.
func (k *Key) borrow() (*lent, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		return nil, k.err
	}
	k.key.users++
	return k.key, nil
}

func (k *Key) giveBack(key *lent) {
	k.mu.Lock()
	key.users--
	last := key.dropped && key.users == 0
	k.mu.Unlock()
	if last {
		_ = key.Close() // it has failed, or the service ends
	}
}

// usable opens a key that has failed, if it is time to. The refusal says that it cannot sign.
func (k *Key) usable(ctx context.Context) *protocol.RefusedError {
	k.mu.Lock()
	if k.key != nil {
		k.mu.Unlock()
		return nil
	}
	if k.closed || k.tries || k.retry.IsZero() || time.Now().Before(k.retry) {
		err := k.err
		k.mu.Unlock()
		return failed(k.name, err)
	}
	k.tries = true
	k.mu.Unlock()
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), openLimit) // others need it as well
	defer stop()
	opened, err := k.reopen(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tries = false
	if err == nil && k.closed {
		err = errors.Join(keystore.ErrClosed, opened.Close())
	}
	if err != nil {
		k.failedWith(err)
		return failed(k.name, err)
	}
	k.key, k.err, k.pause = &lent{Key: opened}, nil, 0
	k.meter.down.Store(false)
	k.note(fmt.Sprintf("key %s: opened again", k.name))
	return nil
}

// failed is the refusal that clients get. The error may tell about the service's machine, so it stays in the
// service's own log.
func failed(name string, err error) *protocol.RefusedError {
	switch {
	case errors.Is(err, keystore.ErrGone), errors.Is(err, keystore.ErrNotFound):
		return protocol.Refuse(protocol.KeyFailed, "the device of key %s does not answer; the service's log says more", name)
	case errors.Is(err, keystore.ErrWrongPIN), errors.Is(err, keystore.ErrLocked):
		return protocol.Refuse(protocol.KeyFailed, "the device of key %s does not accept the PIN; the service's log says more", name)
	}
	return protocol.Refuse(protocol.KeyFailed, "key %s cannot sign now; the service's log says more", name)
}

func (k *Key) reopen(ctx context.Context) (*keystore.Key, error) {
	opened, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	der, err := spkiOf(opened.Public)
	if err == nil && string(der) != string(k.der) {
		err = errors.New("it is another key than before: restart the service")
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// failedWith notes that there is no key. A wrong PIN is not tried again, because devices count
// wrong PINs and then lock. The caller holds k.mu.
func (k *Key) failedWith(err error) {
	k.err = err
	k.meter.failures.Add(1)
	k.meter.down.Store(true)
	k.pause = min(max(2*k.pause, firstRetry), lastRetry)
	k.retry = time.Now().Add(k.pause)
	what := fmt.Sprintf("it is opened again in %s or later", k.pause)
	for _, final := range []error{keystore.ErrWrongPIN, keystore.ErrLocked, keystore.ErrWrongPassphrase, keystore.ErrPINNeeded, keystore.ErrPassphraseNeeded} {
		if errors.Is(err, final) {
			k.retry = time.Time{}
			what = "it is not opened again before the service is restarted"
		}
	}
	k.note(fmt.Sprintf("key %s failed, %s: %v", k.name, what, err))
}

// batch makes the raw signatures of a batch of a requester for which there is a place in the queue.
func (k *Key) batch(ctx context.Context, who string, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	return k.queue.do(ctx, who, f, h, digests)
}

// sign signs a part of a batch, and returns raw signatures.
func (k *Key) sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	key, err := k.borrow()
	if err != nil {
		return nil, failed(k.name, err)
	}
	defer k.giveBack(key)
	signatures, err := k.signWith(ctx, key.Key, f, h, digests)
	switch {
	case err == nil || ctx.Err() != nil:
		return signatures, err
	case ofRequest(err):
		return nil, protocol.Refuse(protocol.WrongForm, "key %s makes no such signatures: %v", k.name, err)
	}
	k.lose(key, err)
	return nil, failed(k.name, err)
}

// signWith signs with an open key. Every signature is verified. With a key for which verifying
// takes most of the time, only the first one is, which finds a key or a machine that makes wrong
// ones. The client verifies all in either case.
func (k *Key) signWith(ctx context.Context, key *keystore.Key, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	verified := len(digests)
	if key.Unverified {
		verified = min(1, verified)
	}
	values, err := ima.Sign(ctx, key, k.public, f, h, digests[:verified])
	if err != nil {
		return nil, err
	}
	signatures := make([][]byte, verified, len(digests))
	for i, value := range values {
		v, err := ima.Parse(value)
		if err != nil {
			return nil, err
		}
		signatures[i] = v.Signature
	}
	if verified == len(digests) {
		return signatures, nil
	}
	more, err := key.Sign(ctx, f, h, digests[verified:])
	if err == nil && len(more) != len(digests)-verified {
		err = fmt.Errorf("%d signatures for %d digests", len(more), len(digests)-verified)
	}
	return append(signatures, more...), err
}

// ofRequest reports whether the fault is in what was asked for.
func ofRequest(err error) bool {
	for _, e := range []error{ima.ErrUnsupportedHash, ima.ErrUnknownHash, ima.ErrUnsupportedVersion, ima.ErrDigestSize, ima.ErrPurpose, ima.ErrSHA1} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lose drops a key that has failed, so that it will be opened again. The caller has borrowed it.
func (k *Key) lose(key *lent, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != key { // another batch found it first
		return
	}
	k.key = nil
	key.drop()
	k.failedWith(err)
}

// down returns why the key cannot sign, nil if it can.
func (k *Key) down() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// due reports whether the next request tries to open the key again.
func (k *Key) due() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.key == nil && !k.retry.IsZero() && time.Now().After(k.retry)
}
