package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/protocol"
)

type auditVerifyOptions struct {
	log   auditFlags
	since string
	state string
	jobs  int
}

func newAuditVerify(a *app) *cobra.Command {
	var o auditVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the whole log of a signing service, or receipts",
		Long: `Verify reads every record of a log. It verifies the signature of the newest checkpoint, all records
against the Merkle root in it, and the signatures of each batch against the root in its record. It
names the first record that was changed, moved or removed.

A log by itself cannot show that an older copy of it was restored, or that others are shown a
different one. For that, keep a checkpoint: --state writes the newest verified one to FILE, and
the next run demands that the log continues it. --since demands the same of any checkpoint, such
as the one that ends the proof in a receipt.

--receipts verifies receipts, without a log: that the record of each batch is in the tree of a
checkpoint that the log's key signed, and that the batch is the one in the record. audit prove tells
what the signatures are of.

Exit code 3 means that a log or a receipt is damaged, or that a log does not continue the checkpoint.`,
		Example: `  imasign-build audit verify --log /srv/log --log-key log.pub
  imasign-build audit verify --log copy --log-key log.pub --state newest
  imasign-build audit verify --receipts image.receipts --log-key log.pub`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAuditVerify(cmd.Context(), a, o) },
	}
	o.log.addReceipts(cmd.Flags())
	cmd.Flags().StringVar(&o.since, "since", "", "demand that the log continues the checkpoint in `FILE`")
	cmd.Flags().StringVar(&o.state, "state", "", "as --since, unless `FILE` is missing, and then write the newest checkpoint to it")
	jobsVar(cmd.Flags(), &o.jobs, "records")
	once(cmd.Flags(), "since", "state")
	return cmd
}

func runAuditVerify(ctx context.Context, a *app, o auditVerifyOptions) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	if o.since != "" && o.state != "" {
		return usagef("--since and --state both name an older checkpoint: give one of them")
	}
	logs, keys, err := o.log.open(ctx, a)
	if err != nil {
		return err
	}
	if len(logs) != 1 && (o.since != "" || o.state != "") {
		return usagef("--since and --state are about one log, and --log names %d", len(logs))
	}
	old, err := o.older(ctx, keys)
	if err != nil {
		return err
	}
	started := time.Now()
	r := &report.AuditVerification{Head: report.Head{Command: "audit verify"}}
	p := a.newProgress()
	defer p.close()
	for _, log := range logs {
		one, err := o.verify(ctx, a, p, log, keys, old)
		if err != nil {
			return err
		}
		r.Logs = append(r.Logs, one)
	}
	p.close()
	for _, file := range o.log.files() {
		one, err := verifyReceipts(ctx, file, keys)
		if err != nil {
			return err
		}
		r.Receipts = append(r.Receipts, one)
	}
	r.Seconds = time.Since(started).Seconds()
	if r.Wrong() {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}

// older returns the checkpoint that the log must continue, nil for none.
func (o *auditVerifyOptions) older(ctx context.Context, keys []note.Verifier) (*protocol.Checkpoint, error) {
	switch {
	case o.since != "":
		return readOldCheckpoint(ctx, o.since, keys)
	case o.state != "" && exists(o.state):
		return readOldCheckpoint(ctx, o.state, keys)
	}
	return nil, nil
}

// verify verifies one log. Damage is in the report, and not an error.
func (o *auditVerifyOptions) verify(ctx context.Context, a *app, p *progress, log audit.Log, keys []note.Verifier, old *protocol.Checkpoint) (report.AuditedLog, error) {
	r := report.AuditedLog{Log: log.String(), Status: "ok"}
	signed, c, err := audit.Current(ctx, log, keys)
	if err == nil {
		r.Origin, r.Root = c.Origin, base64.StdEncoding.EncodeToString(c.Root[:])
		p.begin("verified", "records", amount{items: c.Size})
		err = audit.Verify(ctx, log, c, audit.Options{Since: old, Jobs: o.jobs, Visit: func(e *translog.Entry, record *audit.Record) error {
			p.advance(int64(len(e.Record) + len(e.Details)))
			r.Records++
			if record.Granted() {
				r.Signatures += int64(record.Digests)
			} else {
				r.Refused += 1 + int64(record.More)
			}
			return nil
		}})
	}
	var damage *translog.DamageError
	if errors.As(err, &damage) {
		r.Status, r.Detail = "damaged", damage.Error()
		if damage.Record >= 0 {
			r.Record = &damage.Record
		}
		return r, nil
	}
	if err == nil && o.state != "" {
		err = o.keep(a, signed)
	}
	return r, err
}

// verifyReceipts verifies all receipts in a file. Damage is in the report, and not an error.
func verifyReceipts(ctx context.Context, file audit.Receipts, keys []note.Verifier) (report.AuditedReceipts, error) {
	r := report.AuditedReceipts{Path: report.PathOf(string(file)), Status: "ok"}
	logs := map[string]bool{}
	for one, err := range file.Read(ctx, keys) {
		switch {
		case err == nil:
			r.Records++
			r.Signatures += int64(one.Digests)
			logs[one.Origin] = true
		case !errors.Is(err, translog.ErrDamaged):
			return r, err
		default:
			if r.Damaged++; r.Damaged == 1 {
				r.Status, r.Detail = "damaged", err.Error()
			}
		}
	}
	r.Logs = slices.Sorted(maps.Keys(logs))
	return r, nil
}

// keep writes the checkpoint that was verified.
func (o *auditVerifyOptions) keep(a *app, signed []byte) error {
	err := a.writeOutput(o.state, func(w io.Writer) error {
		_, err := w.Write(signed)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	return nil
}
