package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
)

// maxKeyring is the size in bytes of the largest OpenPGP keyring.
const maxKeyring = 8 << 20

// policy reads what may be read again while the service runs. The keys are open. store has the
// approvals, nil without; the caller closes it when the policy is no longer used.
func (s *service) policy(ctx context.Context, conf *config.Config) (_ *signd.Policy, store *approval.Store, err error) {
	p := &signd.Policy{Audiences: conf.Audiences}
	for _, r := range conf.Requesters {
		p.Requesters = append(p.Requesters, signd.Requester{Name: r.Name, Key: r.Key, Certificate: r.Certificate, Audit: r.Audit})
	}
	if p.Certificate, err = s.app.serverCertificate(ctx, conf); err != nil {
		return nil, nil, err
	}
	if p.Authorities, err = certs.Read(ctx, conf.Path(conf.TLS.Clients)); err != nil {
		return nil, nil, configured{conf.Fault("tls.clients", "%v", err), err}
	}
	for _, ca := range p.Authorities {
		if !ca.IsCA {
			return nil, nil, conf.Fault("tls.clients", "the certificate of %q is no CA", ca.Subject)
		}
	}
	if conf.Approvals != "" {
		if store, err = s.openApprovals(ctx, conf); err != nil {
			return nil, nil, err
		}
	}
	if p.Judge, err = s.ruleSet(ctx, conf, store); err != nil {
		if store != nil {
			store.Close()
		}
		return nil, nil, err
	}
	return p, store, nil
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

// openApprovals opens the directory of approvals. Nobody approves with the key of a requester or of
// the service.
func (s *service) openApprovals(ctx context.Context, conf *config.Config) (*approval.Store, error) {
	o := approval.Options{Taken: map[[sha256.Size]byte]string{}, Warn: func(line string) { s.say("approvals: %s", line) }}
	for i, p := range conf.Approvers {
		at := fmt.Sprintf("approvers[%d].certificate", i)
		list, err := certs.Read(ctx, conf.Path(p.Certificate))
		if err != nil {
			return nil, configured{conf.Fault(at, "%v", err), err}
		}
		if len(list) != 1 {
			return nil, conf.Fault(at, "%s has %d certificates: an approver has one", p.Certificate, len(list))
		}
		key, err := ima.CertificateKey(list[0])
		if err != nil {
			return nil, conf.Fault(at, "%v", err)
		}
		o.Approvers = append(o.Approvers, approval.Approver{Name: p.Name, Key: key})
	}
	for _, r := range conf.Requesters {
		der, err := x509.MarshalPKIXPublicKey(r.Key)
		if err != nil {
			return nil, err
		}
		o.Taken[sha256.Sum256(der)] = "requester " + r.Name
		o.Taken[r.Certificate] = "requester " + r.Name
	}
	for _, k := range s.keys {
		spki, err := approval.SPKI(k.Public())
		if err != nil {
			return nil, err
		}
		o.Taken[spki] = "key " + k.Name()
	}
	store, err := approval.Open(ctx, conf.Path(conf.Approvals), o)
	if err != nil {
		return nil, configured{conf.Fault("approvals", "%v", err), err}
	}
	return store, nil
}

// ruleSet returns the rules of a configuration.
func (s *service) ruleSet(ctx context.Context, conf *config.Config, store *approval.Store) (*rules.Set, error) {
	var own []*ima.PublicKey
	for _, k := range s.keys {
		own = append(own, k.Public())
	}
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
		if a := r.Approved; a != nil {
			rule.Approved = &rules.Approved{Store: store, By: a.By, AtLeast: a.AtLeast, Origin: a.Origin, Keys: ima.NewKeyring(own...)}
		}
		if _, err := rules.New([]rules.Rule{rule}, s.usage); err != nil { // to say which one is wrong
			return nil, conf.Fault(fmt.Sprintf("rules[%d]", i), "%v", err)
		}
		list = append(list, rule)
	}
	return rules.New(list, s.usage)
}
