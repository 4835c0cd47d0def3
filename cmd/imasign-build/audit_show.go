package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

type auditShowOptions struct {
	log         auditFlags
	requester   string
	key         string
	from, until string
	refused     bool
}

func newAuditShow(a *app) *cobra.Command {
	var o auditShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what signing services signed and refused",
		Long: `Show prints the records of logs: who asked for signatures, when and by which key, and what the
service decided. With --verbose it also prints each digest, and the file that the requester claims it is of.
Nobody has checked these claims: the service sees only digests.

All records are verified, including those that are not shown. If a log is damaged, nothing is
shown; audit verify names the damage.

TIME is a day such as 2026-11-29, or a time in RFC 3339, such as 2026-11-29T12:00:00Z.`,
		Example: `  imasign-build audit show --log copy --log-key log.pub --from 2026-11-29
  imasign-build audit show --log copy --log-key log.pub --requester ci --verbose`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAuditShow(cmd.Context(), a, o) },
	}
	o.log.add(cmd.Flags())
	cmd.Flags().StringVar(&o.requester, "requester", "", "show only requests of the requester `NAME`")
	cmd.Flags().StringVar(&o.key, "key-name", "", "show only requests for the key that the service calls `NAME`")
	cmd.Flags().StringVar(&o.from, "from", "", "show only what was decided at `TIME` or later")
	cmd.Flags().StringVar(&o.until, "until", "", "show only what was decided before `TIME`")
	cmd.Flags().BoolVar(&o.refused, "refused", false, "show only refused requests")
	once(cmd.Flags(), "requester", "key-name", "from", "until")
	return cmd
}

func runAuditShow(ctx context.Context, a *app, o auditShowOptions) error {
	wanted, err := o.filter()
	if err != nil {
		return err
	}
	logs, keys, err := o.log.open(ctx, a)
	if err != nil {
		return err
	}
	r := &report.AuditRecords{Head: report.Head{Command: "audit show"}}
	for _, log := range logs {
		_, c, err := audit.Current(ctx, log, keys)
		if err != nil {
			return a.damaged(&report.AuditRecords{Head: r.Head}, err)
		}
		err = audit.Verify(ctx, log, c, audit.Options{Visit: func(_ *translog.Entry, record *audit.Record) error {
			if wanted(record) {
				r.Logged = append(r.Logged, loggedOf(log, record, a.verbose))
			}
			return nil
		}})
		if err != nil {
			return a.damaged(&report.AuditRecords{Head: r.Head}, err)
		}
	}
	return a.print(r, nil)
}

// filter returns what decides which records are shown.
func (o *auditShowOptions) filter() (func(*audit.Record) bool, error) {
	from, err := parseTime("--from", o.from)
	if err != nil {
		return nil, err
	}
	until, err := parseTime("--until", o.until)
	if err != nil {
		return nil, err
	}
	return func(r *audit.Record) bool {
		return (o.requester == "" || r.Requester == o.requester) && (o.key == "" || r.Key == o.key) && (!o.refused || !r.Granted()) &&
			(from.IsZero() || r.Time >= from.Unix()) && (until.IsZero() || r.Time < until.Unix())
	}, nil
}

// parseTime reads a day or a time; "" is the zero time.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%s %q: write a day such as 2026-11-29, or a time such as 2026-11-29T12:00:00Z", flag, text)
}

func loggedOf(log audit.Log, r *audit.Record, verbose bool) report.Logged {
	hash := ima.HashID(r.Hash)
	l := report.Logged{
		Log: log.String(), Record: r.Index, Time: report.At(r.Time), Status: "granted", Requester: r.Requester, Request: fmt.Sprintf("%x", r.ID),
		Key: r.Key, SPKI: fmt.Sprintf("%x", r.SPKI), Form: formName(r.Type, r.Signature), Hash: hash.String(), Rule: r.Rule,
		Signatures: int64(r.Digests), More: int64(r.More),
	}
	if !r.Granted() {
		l.Status, l.Reason, l.Signatures = "refused", string(r.Refusal), 0
	}
	for _, sum := range r.Manifests {
		l.Manifests = append(l.Manifests, fmt.Sprintf("%x", sum))
	}
	if verbose {
		l.Claimed = claimsOf(r, hash.Size())
	}
	return l
}

// claimsOf returns the digests, which are size bytes long, and what they are claimed to be of.
func claimsOf(r *audit.Record, size int) (list []report.ClaimedAs) {
	for i, rest := 0, r.Details.Digests; size > 0 && len(rest) >= size; i, rest = i+1, rest[size:] {
		one := report.ClaimedAs{Digest: fmt.Sprintf("%x", rest[:size])}
		if i < len(r.Details.Claims) {
			c := &r.Details.Claims[i]
			if o := r.Details.Origins; c.Origin < uint64(len(o)) {
				one.Container, one.Name = o[c.Origin].Container, string(o[c.Origin].Name)
			}
			one.Path = report.PathOf(string(c.Path))
		}
		list = append(list, one)
	}
	return list
}

// formName returns the name of a form, as the rules of a service have it.
func formName(kind, version uint8) string {
	form, err := protocol.FormOf(kind, version)
	for name, known := range map[string]ima.Form{
		"v2": ima.ContentSignature(), "v3": ima.ContentSignature().V3(), "verity": ima.VeritySignature(),
		"evm": ima.PortableSignature(), "evm-v3": ima.PortableSignature().V3(),
	} {
		if err == nil && known == form {
			return name
		}
	}
	return fmt.Sprintf("type %#02x version %d", kind, version)
}
