package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/manifest"
)

type auditProveOptions struct {
	log   auditFlags
	trust trustFlags
}

func newAuditProve(a *app) *cobra.Command {
	var o auditProveOptions
	cmd := &cobra.Command{
		Use:   "prove MANIFEST…",
		Short: "Find the signatures of manifests in the logs of signing services",
		Long: `Prove looks in logs for every signature in the manifests, in security.ima and security.evm, and names
those that no log has: somebody used the key without the service, or the log is not given. For each
signature found, it verifies that it is in the batch of a record, and the record in the tree whose
root the log signed. --cert names the certificates of all signing keys; for security.evm, give
x509_evm.crt, too. If several servers have the same key, give the logs of all.

--receipts looks in receipts instead, without a log or a network: they prove the same. Receipts lack
signatures that another run made or that came from a cache.

A log that cannot be read is an error only if some signatures are not in the others.

Exit code 3 means that a signature is in no log, or that a log or a receipt is damaged.`,
		Example: `  imasign-build audit prove image.jsonl --cert keys --log copy --log-key log.pub
  imasign-build audit prove *.jsonl --cert keys --log s1 --log s2 --log-key logs.pub
  imasign-build audit prove image.jsonl --cert keys --receipts image.receipts \
      --log-key log.pub`,
		RunE: func(cmd *cobra.Command, args []string) error { return runAuditProve(cmd.Context(), a, o, args) },
	}
	o.log.addReceipts(cmd.Flags())
	o.trust.add(cmd.Flags())
	return cmd
}

func runAuditProve(ctx context.Context, a *app, o auditProveOptions, manifests []string) error {
	started := time.Now()
	public, err := o.trust.keys(ctx, a)
	if err != nil {
		return err
	}
	keys, err := audit.NewKeys(public)
	if err != nil {
		return err
	}
	logs, logKeys, err := o.log.open(ctx, a)
	if err != nil {
		return err
	}
	s := search{keys: keys, logKeys: logKeys, report: &report.AuditProof{Head: report.Head{Command: "audit prove"}, NoLog: len(logs) == 0}}
	for _, file := range manifests {
		if err := s.read(ctx, file); err != nil {
			return err
		}
	}
	var failed []error
	for _, file := range o.log.files() {
		find := func(leaves []tlog.Hash) ([]*audit.Record, error) { return file.Find(ctx, logKeys, leaves) }
		if err := s.look(string(file), find); err != nil {
			failed = append(failed, err)
		}
	}
	for _, log := range logs {
		if err := s.look(log.String(), s.in(ctx, log)); err != nil {
			failed = append(failed, err)
		}
	}
	s.end(time.Since(started))
	return s.result(a, errors.Join(failed...))
}

// search is the search for signatures in logs.
type search struct {
	keys    *audit.Keys
	logKeys []note.Verifier
	report  *report.AuditProof
	leaves  []tlog.Hash // that are looked for
	of      []int       // the entry of the report that each is of
}

// read adds the signatures of a manifest.
func (s *search) read(ctx context.Context, file string) error {
	f, err := input.Open(ctx, file)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	in := manifest.NewReader(f)
	for {
		header, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", file, err)
		}
		for one, err := range s.keys.Signatures(in.Lines()) {
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			s.add(file, header.Name, &one)
		}
	}
}

func (s *search) add(file, container string, one *audit.Signature) {
	e := report.Proved{
		Path: report.PathOf(one.Path), Manifest: file, Container: container, Xattr: one.Xattr, KeyID: one.KeyID.String(),
		Status: "unproved", Reason: "no log has it",
	}
	if s.report.NoLog {
		e.Reason = "no receipt has it"
	}
	if len(one.Leaves) == 0 {
		e.Reason = fmt.Sprintf("no certificate has its key id %s", one.KeyID)
	}
	for _, leaf := range one.Leaves {
		s.leaves, s.of = append(s.leaves, leaf), append(s.of, len(s.report.Entries))
	}
	s.report.Entries = append(s.report.Entries, e)
}

// in returns how to find leaves in a log.
func (s *search) in(ctx context.Context, log audit.Log) func([]tlog.Hash) ([]*audit.Record, error) {
	return func(leaves []tlog.Hash) ([]*audit.Record, error) {
		_, c, err := audit.Current(ctx, log, s.logKeys)
		if err != nil {
			return nil, err
		}
		return log.Find(ctx, c, leaves)
	}
}

// look looks for what is not proved yet. Some may be found although there is an error.
func (s *search) look(name string, find func([]tlog.Hash) ([]*audit.Record, error)) error {
	var leaves []tlog.Hash
	var of []int
	for i, entry := range s.of {
		if s.report.Entries[entry].Status != "proved" {
			leaves, of = append(leaves, s.leaves[i]), append(of, entry)
		}
	}
	if len(leaves) == 0 {
		return nil
	}
	found, err := find(leaves)
	for i, r := range found {
		if r == nil {
			continue
		}
		e := &s.report.Entries[of[i]]
		e.Status, e.Reason, e.Log, e.Record, e.Time, e.Requester = "proved", "", name, &r.Index, report.At(r.Time), r.Requester
	}
	return err
}

func (s *search) end(took time.Duration) {
	for i := range s.report.Entries {
		if s.report.Entries[i].Status == "proved" {
			s.report.Proved++
		} else {
			s.report.Unproved++
		}
	}
	s.report.Seconds = took.Seconds()
}

// result prints what was found. failed are the errors of logs.
func (s *search) result(a *app, failed error) error {
	switch {
	case failed == nil && s.report.Unproved == 0:
		return a.print(s.report, nil)
	case failed == nil:
		return a.print(s.report, errWrong)
	case s.report.Unproved == 0:
		a.warn(failed.Error())
		return a.print(s.report, nil)
	}
	return a.damaged(s.report, failed)
}
