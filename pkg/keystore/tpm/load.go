package tpm

import (
	"errors"
	"fmt"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
)

// loaded is a key in the TPM, ready to sign.
type loaded struct {
	tpm      *device
	handle   tpm2.TPMHandle
	name     tpm2.TPM2BName
	public   tpm2.TPMTPublic
	session  tpm2.Session
	end      func() error // of the session
	resident bool         // persistent: it is not flushed
}

const nonceSize = 16

// load loads the key into the TPM and starts the session that authorizes its use. The caller
// has the device's turn.
func (k *key) load() (l *loaded, err error) {
	t := k.device
	if k.where.handle != 0 {
		l, err = readPersistent(t, tpm2.TPMHandle(k.where.handle))
		if err != nil {
			return nil, err
		}
		// The null hierarchy needs no authorization, and its keys do not survive a reboot.
		salt, err := createPrimary(t, tpm2.TPMRHNull, nil)
		if err != nil {
			return nil, err
		}
		err = errors.Join(l.start(salt, k.auth), salt.flush())
		return l, err
	}
	parent, err := k.parent()
	if err != nil {
		return nil, fmt.Errorf("parent key: %w", err)
	}
	defer func() { err = errors.Join(err, parent.flush()) }()
	if l, err = loadUnder(parent, k.file.key); err != nil {
		return nil, fmt.Errorf("load the key: %w", err)
	}
	if err := l.start(parent, k.auth); err != nil {
		return nil, errors.Join(err, l.unload())
	}
	return l, nil
}

// start begins the session, salted with a secret that only the TPM can decrypt
// with salt's private key.
func (l *loaded) start(salt *loaded, auth []byte) (err error) {
	l.session, l.end, err = tpm2.HMACSession(l.tpm, tpm2.TPMAlgSHA256, nonceSize,
		tpm2.Auth(auth), tpm2.Salted(salt.handle, salt.public), tpm2.AESEncryption(128, tpm2.EncryptIn))
	return err
}

// once is a session for one command.
func (l *loaded) once(auth []byte) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize,
		tpm2.Auth(auth), tpm2.Salted(l.handle, l.public), tpm2.AESEncryption(128, tpm2.EncryptIn))
}

func (l *loaded) flush() error {
	if l.resident {
		return nil
	}
	_, err := tpm2.FlushContext{FlushHandle: l.handle}.Execute(l.tpm)
	return err
}

// unload frees the key's and the session's place in the TPM.
func (l *loaded) unload() error {
	err := l.flush()
	if l.end != nil {
		err = errors.Join(err, l.end())
	}
	return err
}

// parent returns the parent of the key in the key file: a primary key, which is computed
// again, or a persistent key.
func (k *key) parent() (*loaded, error) {
	handle := k.file.key.Parent
	switch handle >> 24 {
	case 0x40: // permanent: a hierarchy
		return createPrimary(k.device, handle, k.owner)
	case 0x81:
		return readPersistent(k.device, handle)
	case 0x80: // transient: some old tools meant the owner's hierarchy
		return createPrimary(k.device, tpm2.TPMRHOwner, k.owner)
	}
	return nil, fmt.Errorf("handle %#x is none of a parent", uint32(handle))
}

func readPersistent(t *device, handle tpm2.TPMHandle) (*loaded, error) {
	r, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("read %#x: %w", uint32(handle), err)
	}
	public, err := r.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	return &loaded{tpm: t, handle: handle, name: r.Name, public: *public, resident: true}, nil
}

// createPrimary makes the primary key of a hierarchy that key files use as parent. Its
// template is H-2 (ECC P-256) of the TCG's EK Credential Profile.
func createPrimary(t *device, hierarchy tpm2.TPMHandle, auth []byte) (*loaded, error) {
	r, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize, tpm2.Auth(auth))},
		InPublic:      tpm2.New2B(keyfile.ECCSRK_H2_Template),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("primary key of hierarchy %#x: %w", uint32(hierarchy), err)
	}
	public, err := r.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	return &loaded{tpm: t, handle: r.ObjectHandle, name: r.Name, public: *public}, nil
}

func loadUnder(parent *loaded, file *keyfile.TPMKey) (*loaded, error) {
	public, err := file.Pubkey.Contents()
	if err != nil {
		return nil, err
	}
	r, err := tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: parent.handle, Name: parent.name, Auth: parent.once(nil)},
		InPrivate:    file.Privkey, InPublic: file.Pubkey,
	}.Execute(parent.tpm)
	if err != nil {
		return nil, err
	}
	return &loaded{tpm: parent.tpm, handle: r.ObjectHandle, name: r.Name, public: *public}, nil
}
