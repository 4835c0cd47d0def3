package config

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Read reads the configuration in a file. Mistakes are joined errors that wrap [ErrInvalid].
func Read(ctx context.Context, file string) (*Config, error) {
	data, err := input.ReadFile(ctx, file, MaxSize)
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// Parse returns the configuration in data. file is its path.
func Parse(file string, data []byte) (*Config, error) {
	root, err := document(file, data)
	if err != nil {
		return nil, err
	}
	c := &Config{File: file}
	d := &decoder{file: file, at: map[string]position{}}
	d.decode(root, reflect.ValueOf(c).Elem(), "")
	if len(d.errs) > 0 { // others may follow from these
		return nil, errors.Join(d.errs...)
	}
	c.at = d.at
	if err := errors.Join(c.check()...); err != nil {
		return nil, err
	}
	return c, nil
}

// Fault returns a mistake in what a path names, such as keys[0].certificate.
func (c *Config) Fault(path, format string, args ...any) error {
	at := c.at[path]
	return &Error{c.File, at.line, at.column, fmt.Sprintf(format, args...)}
}

// check checks what is in the configuration, and fills the fields that are computed.
func (c *Config) check() (errs []error) {
	add := func(path, format string, args ...any) { errs = append(errs, c.Fault(path, format, args...)) }
	c.checkAddresses(add)
	for i, source := range []string{c.TLS.Key, c.Log.Key} {
		if kind, name, _ := strings.Cut(source, ":"); (kind != "file" && kind != "cred") || name == "" {
			add([]string{"tls.key", "log.key"}[i], "it must be file:PATH or cred:NAME")
		}
	}
	if len(c.Keys) == 0 {
		add("keys", "there is no key")
	}
	names(add, "keys", len(c.Keys), func(i int) string { return c.Keys[i].Name })
	names(add, "requesters", len(c.Requesters), func(i int) string { return c.Requesters[i].Name })
	names(add, "approvers", len(c.Approvers), func(i int) string { return c.Approvers[i].Name })
	names(add, "rules", len(c.Rules), func(i int) string { return c.Rules[i].Name })
	for i := range c.Keys {
		c.checkKey(add, i)
	}
	for i := range c.Requesters {
		c.checkRequester(add, i)
	}
	for i := range c.Rules {
		c.checkRule(add, i)
	}
	return errs
}

type adder func(path, format string, args ...any)

// names checks the names of the elements of a list.
func names(add adder, list string, n int, name func(int) string) {
	seen := map[string]bool{}
	for i := range n {
		path := fmt.Sprintf("%s[%d].name", list, i)
		if protocol.CheckName(name(i)) != nil {
			add(path, "%q: a name has letters, digits, dots, underscores and hyphens, at most %d, and does not begin with a dot or hyphen", name(i), protocol.MaxName)
		}
		if seen[name(i)] {
			add(path, "another one of the %s has the name %s", list, name(i))
		}
		seen[name(i)] = true
	}
}

func (c *Config) checkAddresses(add adder) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		add("listen", "%q is not HOST:PORT", c.Listen)
	}
	if len(c.Audiences) == 0 {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			add("listen", "audiences must say by which HOST:PORT clients call the server, because it listens on all addresses")
		}
		c.Audiences = []string{c.Listen}
	}
	for i, name := range c.Audiences {
		if host, port, err := net.SplitHostPort(name); err != nil || host == "" || port == "" || len(name) > protocol.MaxName {
			add(fmt.Sprintf("audiences[%d]", i), "%q is not HOST:PORT", name)
		}
	}
	if c.Metrics == "" {
		return
	}
	host, _, err = net.SplitHostPort(c.Metrics)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		add("metrics", "%q is not a loopback address, such as 127.0.0.1:9443: whoever reaches it needs no key", c.Metrics)
	}
}

func (c *Config) checkKey(add adder, i int) {
	k, path := &c.Keys[i], fmt.Sprintf("keys[%d].", i)
	if _, err := c.KeyURI(k); err != nil {
		add(path+"uri", "%v", err)
	}
	if k.For != "" && k.For != "v3" && k.For != "any" {
		add(path+"for", "it must be v3 or any, not %q", k.For)
	}
}

func (c *Config) checkRequester(add adder, i int) {
	r, path := &c.Requesters[i], fmt.Sprintf("requesters[%d].", i)
	key, err := base64.StdEncoding.Strict().DecodeString(r.KeyText)
	if err != nil || len(key) != ed25519.PublicKeySize {
		add(path+"key", "it must be an Ed25519 public key: 32 bytes in base64")
		return
	}
	r.Key = key
	for j := range i {
		if c.Requesters[j].Key.Equal(r.Key) {
			add(path+"key", "it is the key of requester %s as well", c.Requesters[j].Name)
		}
	}
	if r.CertificateText == "" {
		der, err := x509.MarshalPKIXPublicKey(r.Key)
		if err != nil {
			add(path+"key", "%v", err)
		}
		r.Certificate = sha256.Sum256(der)
		return
	}
	text, found := strings.CutPrefix(r.CertificateText, "sha256:")
	sum, err := hex.DecodeString(text)
	if !found || err != nil || len(sum) != sha256.Size {
		add(path+"certificate", "it must be sha256: and 64 hexadecimal digits, the SHA-256 of the SubjectPublicKeyInfo of the client certificate")
		return
	}
	r.Certificate = [sha256.Size]byte(sum)
}

// formNames are the names of forms in rules.
func formNames() []string { return []string{"v2", "v3", "verity", "evm", "evm-v3"} }

// formOf returns the form with a name.
func formOf(name string) (ima.Form, bool) {
	i := slices.Index(formNames(), name)
	if i < 0 {
		return ima.Form{}, false
	}
	return []ima.Form{
		ima.ContentSignature(), ima.ContentSignature().V3(), ima.VeritySignature(), ima.PortableSignature(), ima.PortableSignature().V3(),
	}[i], true
}

func (c *Config) checkRule(add adder, i int) {
	r, path := &c.Rules[i], fmt.Sprintf("rules[%d].", i)
	refer := func(list, what string, names []string, known func(string) bool) {
		for j, name := range names {
			at := fmt.Sprintf("%s%s[%d]", path, list, j)
			if !known(name) {
				add(at, "there is no %s %s", what, name)
			}
			if slices.Contains(names[:j], name) {
				add(at, "%s is repeated", name)
			}
		}
		if len(names) == 0 {
			add(path+list, "the rule grants nothing: it names no %s", what)
		}
	}
	requester := func(name string) bool {
		return slices.ContainsFunc(c.Requesters, func(r Requester) bool { return r.Name == name })
	}
	refer("keys", "key", r.Keys, func(name string) bool { return c.Key(name) != nil })
	refer("requesters", "requester", r.Requesters, requester)
	for j, name := range r.HashNames {
		hash, err := ima.ParseHash(name)
		if err == nil {
			err = hash.CheckSigns()
		}
		if err != nil {
			add(fmt.Sprintf("%shashes[%d]", path, j), "%v", err)
		}
		r.Hashes = append(r.Hashes, hash)
	}
	for j, name := range r.FormNames {
		form, known := formOf(name)
		if !known {
			add(fmt.Sprintf("%sforms[%d]", path, j), "%q: there are %s", name, strings.Join(formNames(), ", "))
		}
		r.Forms = append(r.Forms, form)
	}
	if len(r.FormNames) == 0 {
		add(path+"forms", "the rule grants nothing: it names no form")
	}
	if _, given := c.at[path+"batch"]; given && (r.Batch < 1 || r.Batch > protocol.MaxDigests) {
		add(path+"batch", "it must be 1 to %d", protocol.MaxDigests)
	}
	if _, given := c.at[path+"quota"]; given && r.Quota < 1 {
		add(path+"quota", "it must be at least 1; without it there is no limit")
	}
	c.checkBinding(add, r, path)
}

// checkBinding checks what a rule demands beside the digests.
func (c *Config) checkBinding(add adder, r *Rule, path string) {
	if h := r.Header; h != nil && h.BuiltAfterText != "" {
		var err error
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if h.BuiltAfter, err = time.Parse(layout, h.BuiltAfterText); err == nil {
				break
			}
		}
		if err != nil {
			add(path+"header.built-after", "%q is not a date such as 2026-01-31", h.BuiltAfterText)
		}
	}
	a := r.Approved
	if a == nil {
		return
	}
	for j, name := range a.By {
		at := fmt.Sprintf("%sapproved.by[%d]", path, j)
		if !slices.ContainsFunc(c.Approvers, func(p Approver) bool { return p.Name == name }) {
			add(at, "there is no approver %s", name)
		}
		if slices.Contains(a.By[:j], name) {
			add(at, "%s is repeated", name)
		}
	}
	if a.AtLeast < 1 || a.AtLeast > len(a.By) {
		add(path+"approved.at-least", "it must be 1 to %d, the number of approvers of the rule", len(a.By))
	}
	if protocol.CheckOrigin(a.Origin) != nil {
		add(path+"approved.origin", "it must be one line of 1 to %d bytes", protocol.MaxName)
	}
	if c.Approvals == "" {
		add(path+"approved", "approvals must name the directory with approved manifests")
	}
}
