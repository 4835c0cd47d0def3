package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// service is a signing service with what it has opened.
type service struct {
	app    *app
	conf   *config.Config // of the last successful reload
	keys   []*signd.Key
	log    *translog.Log
	usage  *rules.Usage
	server *signd.Server
}

// maxKeyring is the size in bytes of the largest OpenPGP keyring.
const maxKeyring = 8 << 20

// openService opens everything that a configuration names. The caller closes the service.
func (a *app) openService(ctx context.Context, conf *config.Config) (_ *service, err error) {
	s := &service{app: a, conf: conf, usage: &rules.Usage{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	policy, err := s.policy(ctx, conf)
	if err != nil {
		return nil, err
	}
	if s.keys, err = a.openKeys(ctx, conf); err != nil {
		return nil, err
	}
	signer, verifier, err := a.logKey(ctx, conf)
	if err != nil {
		return nil, err
	}
	if s.log, err = translog.Open(ctx, conf.Path(conf.Log.Directory), signer, translog.Options{}); err != nil {
		return nil, err
	}
	s.server = signd.New(signd.Options{
		Keys: s.keys, Log: s.log, LogHandler: s.log.Handler(), LogKey: verifier, Policy: policy,
		Note: func(line string) { s.say("%s", line) },
	})
	return s, s.remember(ctx, time.Now())
}

// remember learns from the log which ids were used lately, and what was signed today.
func (s *service) remember(ctx context.Context, now time.Time) error {
	lately, today := now.Add(-2*protocol.MaxAge), now.UTC().Truncate(24*time.Hour)
	from := today
	if lately.Before(from) {
		from = lately
	}
	for record, err := range s.log.Records(ctx, from) {
		if err != nil {
			return err
		}
		at := time.Unix(record.Time, 0)
		if record.Refusal == "" && !at.Before(today) {
			s.usage.Add(record.Rule, record.Requester, at, int64(record.Digests))
		}
		if at.After(lately) {
			s.server.Remember(record.RequesterKey, record.ID, at)
		}
	}
	return nil
}

// close closes what is open.
func (s *service) close() error {
	var errs []error
	for _, k := range s.keys {
		errs = append(errs, k.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	for _, forget := range s.app.forget {
		forget()
	}
	return errors.Join(errs...)
}

// openKeys opens the signing keys of a configuration.
func (a *app) openKeys(ctx context.Context, conf *config.Config) (keys []*signd.Key, err error) {
	var one sync.Mutex // a.secret and a.uriSecret are not for several goroutines
	for i := range conf.Keys {
		k := &conf.Keys[i]
		opened, err := signd.OpenKey(ctx, k.Name, func(ctx context.Context) (*keystore.Key, error) {
			one.Lock()
			defer one.Unlock()
			return a.openConfigured(ctx, conf, k)
		})
		if err != nil {
			for _, k := range keys {
				err = errors.Join(err, k.Close())
			}
			return nil, configured{conf.Fault(fmt.Sprintf("keys[%d].uri", i), "key %s: %v", k.Name, err), err}
		}
		keys = append(keys, opened)
	}
	return keys, nil
}

// configured is an error about something that a configuration names.
type configured struct {
	error

	cause error
}

func (c configured) Unwrap() []error { return []error{c.error, c.cause} }

func (a *app) openConfigured(ctx context.Context, conf *config.Config, k *config.Key) (*keystore.Key, error) {
	uri, err := conf.KeyURI(k)
	if err != nil {
		return nil, err
	}
	flags := keyFlags{key: uri, cert: conf.Path(k.Certificate), pass: conf.Source(k.Pass), purpose: k.For, passFlag: "pass"}
	return flags.open(ctx, a)
}

// logKey returns the key that signs checkpoints, and the one that verifies them.
func (a *app) logKey(ctx context.Context, conf *config.Config) (note.Signer, string, error) {
	data, err := a.secretFile(ctx, conf, "log.key", conf.Log.Key)
	if err != nil {
		return nil, "", err
	}
	defer clear(data)
	secret := strings.TrimSpace(string(data))
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", conf.Fault("log.key", "%s has no key for a log: serve init makes one", conf.Log.Key) // the error may repeat the key
	}
	verifier, err := translog.VerifierKey(secret)
	return signer, verifier, err
}

// maxSecretFile is the size in bytes of the largest file with a private key.
const maxSecretFile = 64 << 10

// secretFile reads the file of a source, file:PATH or cred:NAME. path is that of the source in the
// configuration.
func (a *app) secretFile(ctx context.Context, conf *config.Config, path, source string) ([]byte, error) {
	kind, name, _ := strings.Cut(conf.Source(source), ":")
	if kind == "cred" {
		dir, set := a.getenv("CREDENTIALS_DIRECTORY")
		if !set || dir == "" || strings.ContainsRune(name, '/') || strings.HasPrefix(name, ".") {
			return nil, conf.Fault(path, "%s: there are no credentials of systemd: LoadCredential= in its unit gives a service some", source)
		}
		name = dir + "/" + name
	}
	data, info, err := input.ReadSecret(ctx, name, maxSecretFile)
	if err != nil {
		return nil, configured{conf.Fault(path, "%v", err), err}
	}
	if kind == "file" {
		input.WarnOfMode(a.warn, "private key", name, info)
	}
	return data, nil
}

// policy reads what may be read again while the service runs.
func (s *service) policy(ctx context.Context, conf *config.Config) (*signd.Policy, error) {
	p := &signd.Policy{Audiences: conf.Audiences}
	for _, r := range conf.Requesters {
		p.Requesters = append(p.Requesters, signd.Requester{Name: r.Name, Key: r.Key, Certificate: r.Certificate, Audit: r.Audit})
	}
	var err error
	if p.Certificate, err = s.app.serverCertificate(ctx, conf); err != nil {
		return nil, err
	}
	if p.Authorities, err = certs.Read(ctx, conf.Path(conf.TLS.Clients)); err != nil {
		return nil, configured{conf.Fault("tls.clients", "%v", err), err}
	}
	for _, ca := range p.Authorities {
		if !ca.IsCA {
			return nil, conf.Fault("tls.clients", "the certificate of %q is no CA", ca.Subject)
		}
	}
	if p.Judge, err = ruleSet(ctx, conf, s.usage); err != nil {
		return nil, err
	}
	return p, nil
}

// serverCertificate reads the server's certificate and its private key.
func (a *app) serverCertificate(ctx context.Context, conf *config.Config) (tls.Certificate, error) {
	chain, err := input.ReadFile(ctx, conf.Path(conf.TLS.Certificate), maxSecretFile)
	if err != nil {
		return tls.Certificate{}, configured{conf.Fault("tls.certificate", "%v", err), err}
	}
	key, err := a.secretFile(ctx, conf, "tls.key", conf.TLS.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return pair, conf.Fault("tls.certificate", "%s and %s: %v", conf.TLS.Certificate, conf.TLS.Key, err)
	}
	return pair, nil
}

// ruleSet returns the rules of a configuration.
func ruleSet(ctx context.Context, conf *config.Config, usage *rules.Usage) (*rules.Set, error) {
	var list []rules.Rule
	for i := range conf.Rules {
		r := &conf.Rules[i]
		rule := rules.Rule{Name: r.Name, Keys: r.Keys, Requesters: r.Requesters, Hashes: r.Hashes, Forms: r.Forms, Batch: r.Batch, Quota: r.Quota}
		if h := r.Header; h != nil {
			at := fmt.Sprintf("rules[%d].header.keyring", i)
			keyring, err := input.ReadFile(ctx, conf.Path(h.Keyring), maxKeyring)
			if err != nil {
				return nil, configured{conf.Fault(at, "%v", err), err}
			}
			if rule.Header, err = pkgheader.New(keyring, h.BuiltAfter); err != nil {
				return nil, conf.Fault(at, "%s: %v", h.Keyring, err)
			}
		}
		if r.Approved != nil {
			return nil, conf.Fault(fmt.Sprintf("rules[%d].approved", i), "this program has no rules with approvals")
		}
		list = append(list, rule)
	}
	set, err := rules.New(list, usage)
	if err != nil {
		return nil, conf.Fault("rules", "%v", err)
	}
	return set, nil
}
