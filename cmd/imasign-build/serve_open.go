package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
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

	approvals *approval.Store // nil without
}

// openService opens everything that a configuration names. The caller closes the service.
func (a *app) openService(ctx context.Context, conf *config.Config) (_ *service, err error) {
	s := &service{app: a, conf: conf, usage: &rules.Usage{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.keys, err = a.openKeys(ctx, conf); err != nil {
		return nil, err
	}
	policy, store, err := s.policy(ctx, conf)
	if err != nil {
		return nil, err
	}
	s.approvals = store
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
	if s.approvals != nil {
		s.approvals.Close()
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
	flags := keyFlags{key: uri, cert: conf.Path(k.Certificate), pass: conf.Source(k.Pass), purpose: k.For, passFlag: "pass", unverified: true}
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
