package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// store shares devices between keys.
type store struct {
	mu      sync.Mutex
	devices map[string]*device
}

// New returns the backend for tpm2: URIs. It opens no device yet. A program needs one
// backend, through which the keys of a device share it. The backend is safe for concurrent
// use.
//
// A key's authorization value comes from the URI's auth-source, or from Options.Secret. It
// is asked for only if the key has one. A key file says so, a persistent object does not:
// if the object has the attribute noDA, wrong values are not counted, and an empty value is
// tried. Otherwise Options.Secret is asked, unless it is nil or the URI says
// auth-source=none. The owner's authorization value comes from owner-auth-source, and is
// empty without it. Opening a key makes one signature to check the value.
//
// A new key is made under the primary key of the owner's hierarchy. Generated.URI is "";
// Generated.File is the content of a key file, which only this TPM opens. The new key's
// authorization value comes from auth-source, or from Options.Secret. Without either it has
// none.
//
// Errors wrap [ErrURI] or the sentinels of package keystore: ErrNotFound,
// ErrNotAKey, ErrPINNeeded, ErrWrongPIN, ErrLocked, ErrGone, ErrKeyUse,
// ErrUnsupportedKey, ErrCertificateMismatch.
func New() keystore.Backend {
	s := &store{devices: map[string]*device{}}
	return keystore.Backend{Scheme: "tpm2", Open: s.open, Generate: s.generate}
}

// device is an open TPM. The goroutine that has put a value into turn may send commands.
type device struct {
	name string
	turn chan struct{}
	raw  transport.TPMCloser
	keys int
}

func (s *store) acquire(name string) (*device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[name]
	if d == nil {
		raw, err := dial(name)
		if err != nil {
			return nil, fmt.Errorf("TPM %s: %w", name, err)
		}
		d = &device{name: name, turn: make(chan struct{}, 1), raw: raw}
		s.devices[name] = d
	}
	d.keys++
	return d, nil
}

func (s *store) release(d *device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.keys--; d.keys > 0 {
		return nil
	}
	delete(s.devices, d.name)
	return d.raw.Close()
}

// do waits for the device and runs f. A command that the TPM has begun is not interrupted.
func (d *device) do(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-d.turn }()
	return f()
}

// last is do without a context, to free a key's resources in the TPM.
func (d *device) last(f func() error) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return f()
}

// Send sends one command and returns the response. If the TPM asks to retry, the command is
// sent again for a few seconds.
func (d *device) Send(command []byte) ([]byte, error) {
	wait := time.Millisecond
	for {
		response, err := d.raw.Send(command)
		if err != nil {
			return nil, fmt.Errorf("TPM %s: %w: %w", d.name, keystore.ErrGone, quote.Plain(err))
		}
		if len(response) < headerSize {
			return nil, fmt.Errorf("TPM %s: %w: a response of %d bytes", d.name, keystore.ErrGone, len(response))
		}
		code := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
		put := code == tpm2.TPMRCRetry || code == tpm2.TPMRCYielded || code == tpm2.TPMRCTesting
		if !put || wait > 4*time.Second {
			return response, nil
		}
		time.Sleep(wait)
		wait *= 2
	}
}

// dial opens the TPM called name.
func dial(name string) (transport.TPMCloser, error) {
	network, address, found := strings.Cut(name, ":")
	if strings.HasPrefix(name, "/") {
		return openDevice(name)
	}
	if !found || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("%w: device is a path, unix:PATH or tcp:HOST:PORT", ErrURI)
	}
	s := &socket{network, address}
	c, err := s.dial() // fail now, not at the first command
	if err != nil {
		return nil, err
	}
	return s, c.Close()
}

func openDevice(path string) (transport.TPMCloser, error) {
	t, err := linuxtpm.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no such device: is there a TPM 2.0, and its driver? device= names another", keystore.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: members of the group tss may use it, as a rule", err)
	case errors.Is(err, syscall.EBUSY):
		return nil, fmt.Errorf("%w: another program has it alone: %s is shared", err, defaultDevice)
	case errors.Is(err, linuxtpm.ErrFileIsNotDevice):
		return nil, fmt.Errorf("%w: it is no device; a socket is written unix:%s", keystore.ErrNotFound, path)
	}
	return t, err
}

// socket is a TPM that takes plain commands from a stream. Every command has a connection of
// its own: swtpm serves one connection at a time, and other programs may be waiting.
type socket struct{ network, address string }

const (
	headerSize  = 10      // tag, size, code: Trusted Platform Module Library, part 1, 18
	maxResponse = 1 << 16 // TPMs have 4,096
	dialTimeout = 10 * time.Second
)

// dial connects. It retries if other programs fill the short queue of swtpm's socket: then
// connect fails with EAGAIN.
func (s *socket) dial() (c net.Conn, err error) {
	for deadline := time.Now().Add(dialTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c, err = net.DialTimeout(s.network, s.address, dialTimeout); !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing listens there (%w): is the TPM running?", keystore.ErrNotFound, quote.Plain(err))
	case err != nil:
		return nil, err
	}
	return c, nil
}

// Send implements transport.TPM.
func (s *socket) Send(command []byte) (response []byte, err error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Write(command); err != nil {
		return nil, err
	}
	response = make([]byte, headerSize)
	if _, err := io.ReadFull(c, response); err != nil {
		return nil, fmt.Errorf("read the response: %w", quote.Plain(err))
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerSize || size > maxResponse {
		return nil, fmt.Errorf("a response of %d bytes: this is no TPM, or one that wants another protocol", size)
	}
	response = append(response, make([]byte, size-headerSize)...)
	if _, err := io.ReadFull(c, response[headerSize:]); err != nil {
		return nil, fmt.Errorf("read the response: %w", quote.Plain(err))
	}
	return response, nil
}

// Close implements io.Closer. Between commands nothing is open.
func (s *socket) Close() error { return nil }

var _ transport.TPM = (*device)(nil)
