// Package config reads the configuration of a signing service: one document of YAML 1.2, with the
// names that docs/service.md lists.
//
// It is strict. An unknown or repeated name, a value of another type, null, an anchor, a merge, a tag
// or a second document is an error with its line and column: a misspelt restriction must not be
// ignored. Relative paths are relative to the file. The package opens no other file.
package config

import (
	"crypto/ed25519"
	"crypto/sha256"
	"path/filepath"
	"strings"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// MaxSize is the size in bytes of the largest configuration.
const MaxSize = 1 << 20

// Config is the configuration of a service.
type Config struct {
	// File is the path of the file.
	File string `yaml:"-"`
	// Listen is the address for clients: host:port.
	Listen string `yaml:"listen" want:"yes"`
	// Audiences are the names by which clients call this server: host:port.
	Audiences []string `yaml:"audiences"`
	TLS       TLS      `yaml:"tls" want:"yes"`
	// Metrics is the loopback address for monitoring, "" for none.
	Metrics string `yaml:"metrics"`
	Log     Log    `yaml:"log" want:"yes"`
	// Approvals is the directory with approved manifests, "" for none.
	Approvals  string      `yaml:"approvals"`
	Keys       []Key       `yaml:"keys" want:"yes"`
	Requesters []Requester `yaml:"requesters"`
	Approvers  []Approver  `yaml:"approvers"`
	Rules      []Rule      `yaml:"rules"`

	at map[string]position
}

// TLS names the certificates of connections.
type TLS struct {
	// Certificate is the file of the server's certificate, with those of intermediate CAs.
	Certificate string `yaml:"certificate" want:"yes"`
	// Key is the source of its private key: file:PATH or cred:NAME.
	Key string `yaml:"key" want:"yes"`
	// Clients is the file with the CAs of client certificates.
	Clients string `yaml:"clients" want:"yes"`
}

// Log names the log of the service.
type Log struct {
	Directory string `yaml:"directory" want:"yes"`
	// Key is the source of the key that signs checkpoints: file:PATH or cred:NAME.
	Key string `yaml:"key" want:"yes"`
}

// Key is a signing key.
type Key struct {
	Name string `yaml:"name" want:"yes"`
	// URI is that of --key.
	URI string `yaml:"uri" want:"yes"`
	// Certificate is the file of its certificate, "" for none.
	Certificate string `yaml:"certificate"`
	// Pass is the source of its passphrase or PIN, "" for none.
	Pass string `yaml:"pass"`
	// For says what the key is for if its certificate does not: v3, any, or "".
	For string `yaml:"for"`
}

// Requester is somebody who may ask for signatures.
type Requester struct {
	Name string `yaml:"name" want:"yes"`
	// KeyText is the Ed25519 key in base64, CertificateText sha256: and the digest of the
	// SubjectPublicKeyInfo of the client certificate in hex, "" for a certificate of the same key.
	KeyText         string `yaml:"key" want:"yes"`
	CertificateText string `yaml:"certificate"`
	// Audit lets it read the log.
	Audit bool `yaml:"audit"`

	Key         ed25519.PublicKey `yaml:"-"`
	Certificate [sha256.Size]byte `yaml:"-"`
}

// Approver is somebody who may approve manifests.
type Approver struct {
	Name        string `yaml:"name" want:"yes"`
	Certificate string `yaml:"certificate" want:"yes"`
}

// Rule says what some requesters may sign with some keys.
type Rule struct {
	Name       string   `yaml:"name" want:"yes"`
	Keys       []string `yaml:"keys" want:"yes"`
	Requesters []string `yaml:"requesters" want:"yes"`
	HashNames  []string `yaml:"hashes"`
	FormNames  []string `yaml:"forms" want:"yes"`
	// Batch is how many digests a request has at most, Quota how many a requester may sign a UTC
	// day. 0 means that it is not stated.
	Batch int   `yaml:"batch"`
	Quota int64 `yaml:"quota"`
	// Header grants only digests in signed package headers, Approved only those in approved
	// manifests.
	Header   *Header   `yaml:"header"`
	Approved *Approved `yaml:"approved"`

	Hashes []ima.HashID `yaml:"-"`
	Forms  []ima.Form   `yaml:"-"`
}

// Header says which package headers are accepted.
type Header struct {
	// Keyring is the file with the OpenPGP keys of those who sign packages.
	Keyring string `yaml:"keyring" want:"yes"`
	// BuiltAfterText is a date, 2006-01-02 or RFC 3339; packages that were built earlier are refused.
	BuiltAfterText string `yaml:"built-after"`

	BuiltAfter time.Time `yaml:"-"`
}

// Approved says whose approvals a manifest needs.
type Approved struct {
	By      []string `yaml:"by" want:"yes"`
	AtLeast int      `yaml:"at-least" want:"yes"`
	// Origin is what the approvals must be for.
	Origin string `yaml:"origin" want:"yes"`
}

// Path returns a path of the configuration, which is relative to its file.
func (c *Config) Path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), path)
}

// Source returns the source of a secret, with its path relative to the file of the configuration.
func (c *Config) Source(source string) string {
	if path, is := strings.CutPrefix(source, "file:"); is && path != "" {
		return "file:" + c.Path(path)
	}
	return source
}

// KeyURI returns the URI of a signing key. The path of a key file, or of a TPM's, is relative to the
// file of the configuration.
func (c *Config) KeyURI(k *Key) (string, error) {
	path, is, err := keystore.FilePath(k.URI)
	if err != nil {
		return "", err
	}
	if is {
		return "file:" + c.Path(path), nil
	}
	if rest, is := strings.CutPrefix(k.URI, "tpm2:"); is && !strings.HasPrefix(strings.ToLower(rest), "0x") && rest != "" && rest[0] != '/' {
		return "tpm2:" + c.Path(rest), nil
	}
	return k.URI, nil
}

// Key returns the key with a name, nil if there is none.
func (c *Config) Key(name string) *Key {
	for i := range c.Keys {
		if c.Keys[i].Name == name {
			return &c.Keys[i]
		}
	}
	return nil
}
