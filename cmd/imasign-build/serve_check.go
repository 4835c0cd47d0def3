package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
)

func newServeCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check CONFIG",
		Short: "Check the configuration of a signing service",
		Long: `Check reads CONFIG and all files that it names, and opens the keys. It warns of
certificates that expire soon or lack the name that clients use, of rules that can never
grant anything, and of keys, requesters and approvers that no rule names. It does not listen,
makes no signature, and does not open the log, so it can be run beside the service.

Exit code 1 means that the service would not start.`,
		Example: `  imasign-build serve check service/serve.yaml`,
		RunE:    func(cmd *cobra.Command, args []string) error { return runServeCheck(cmd.Context(), a, args[0]) },
	}
}

func runServeCheck(ctx context.Context, a *app, file string) (err error) {
	guardMemory()
	conf, err := config.Read(ctx, file)
	if err != nil {
		return err
	}
	s := &service{app: a, conf: conf, usage: &rules.Usage{}}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.keys, err = a.openKeys(ctx, conf); err != nil {
		return err
	}
	policy, store, err := s.policy(ctx, conf)
	if err != nil {
		return err
	}
	s.approvals = store
	if _, _, err := a.logKey(ctx, conf); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(conf.Path(conf.Log.Directory), "journal")); err != nil {
		return configured{conf.Fault("log.directory", "there is no log: serve init makes one: %v", err), err}
	}
	r := &report.ServiceCheck{Head: report.Head{Command: "serve check"}, Path: report.PathOf(file), Requesters: len(conf.Requesters), Rules: len(conf.Rules)}
	for _, k := range s.keys {
		r.Keys = append(r.Keys, report.ServiceKey{Name: k.Name(), KeyID: k.Public().ID().String(), Algorithm: k.Public().Algorithm()})
	}
	for _, w := range [][]error{serverWarnings(conf, policy), ruleWarnings(conf, s.keys), unused(conf)} {
		for _, err := range w {
			r.Warnings = append(r.Warnings, err.Error())
		}
	}
	return a.print(r, nil)
}

// soon is how long before its end a certificate is reported.
const soon = 30 * 24 * time.Hour

// serverWarnings are about the certificates for TLS.
func serverWarnings(conf *config.Config, p *signd.Policy) (warnings []error) {
	leaf := p.Certificate.Leaf
	for i, audience := range conf.Audiences {
		host, _, err := net.SplitHostPort(audience)
		if err == nil {
			err = leaf.VerifyHostname(host)
		}
		if err != nil {
			warnings = append(warnings, conf.Fault(fmt.Sprintf("audiences[%d]", i), "clients will refuse the server's certificate: %v", err))
		}
	}
	expiry := func(path, what string, until time.Time) {
		switch left := time.Until(until); {
		case left < 0:
			warnings = append(warnings, conf.Fault(path, "%s expired on %s", what, until.UTC().Format(time.DateOnly)))
		case left < soon:
			warnings = append(warnings, conf.Fault(path, "%s expires on %s", what, until.UTC().Format(time.DateOnly)))
		}
	}
	expiry("tls.certificate", "the server's certificate", leaf.NotAfter)
	for _, ca := range p.Authorities {
		expiry("tls.clients", fmt.Sprintf("the CA %q", ca.Subject), ca.NotAfter)
	}
	return warnings
}

// ruleWarnings are about rules that can never grant anything.
func ruleWarnings(conf *config.Config, keys []*signd.Key) (warnings []error) {
	for i := range conf.Rules {
		r := &conf.Rules[i]
		for j, form := range r.Forms {
			makes := func(k *signd.Key) bool { return slices.Contains(r.Keys, k.Name()) && k.Public().Purpose().Allows(form) }
			if !slices.ContainsFunc(keys, makes) {
				warnings = append(warnings, conf.Fault(fmt.Sprintf("rules[%d].forms[%d]", i, j), "no key of the rule makes signatures of the form %s", r.FormNames[j]))
			}
		}
		for j := range i {
			if covers(&conf.Rules[j], r) {
				warnings = append(warnings, conf.Fault(fmt.Sprintf("rules[%d]", i), "rule %s never decides: rule %s before it grants all that it could", r.Name, conf.Rules[j].Name))
				break
			}
		}
	}
	return warnings
}

// covers reports whether a rule grants every request that a later one would.
func covers(first, later *config.Rule) bool {
	all := func(have, want []string) bool {
		return !slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(have, name) })
	}
	hashes := len(first.HashNames) == 0 || len(later.HashNames) > 0 && all(first.HashNames, later.HashNames)
	batch := first.Batch == 0 || later.Batch > 0 && later.Batch <= first.Batch
	return first.Header == nil && first.Approved == nil && first.Quota == 0 && hashes && batch &&
		all(first.Keys, later.Keys) && all(first.Requesters, later.Requesters) && all(first.FormNames, later.FormNames)
}

// unused warns of keys, requesters and approvers that no rule names.
func unused(conf *config.Config) (warnings []error) {
	used := map[string]bool{}
	for _, r := range conf.Rules {
		for _, name := range r.Keys {
			used["key "+name] = true
		}
		for _, name := range r.Requesters {
			used["requester "+name] = true
		}
		if r.Approved != nil {
			for _, name := range r.Approved.By {
				used["approver "+name] = true
			}
		}
	}
	warn := func(what, list string, i int, name string) {
		if !used[what+" "+name] {
			warnings = append(warnings, conf.Fault(fmt.Sprintf("%s[%d].name", list, i), "no rule names %s %s", what, name))
		}
	}
	for i, k := range conf.Keys {
		warn("key", "keys", i, k.Name)
	}
	for i, r := range conf.Requesters {
		if !r.Audit { // an auditor needs no rule
			warn("requester", "requesters", i, r.Name)
		}
	}
	for i, p := range conf.Approvers {
		warn("approver", "approvers", i, p.Name)
	}
	return warnings
}
