package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/protocol"
)

type auditExportOptions struct {
	log    auditFlags
	output string
	jobs   int
}

func newAuditExport(a *app) *cobra.Command {
	var o auditExportOptions
	cmd := &cobra.Command{
		Use:   "export -o OUT",
		Short: "Copy the log of a signing service",
		Long: `Export verifies a log, and writes a copy of it to the new directory OUT. The other audit commands take
the copy as a log.

Exit code 3 means that the log is damaged. There is no copy then.`,
		Example: `  imasign-build audit export --log /srv/log --log-key log.pub -o copy`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runAuditExport(cmd.Context(), a, o) },
	}
	o.log.add(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write the copy to the new directory `OUT`")
	jobsVar(cmd.Flags(), &o.jobs, "records")
	once(cmd.Flags(), "output")
	return cmd
}

func runAuditExport(ctx context.Context, a *app, o auditExportOptions) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	if o.output == "" {
		return usagef("no directory was given for the copy: -o OUT")
	}
	log, keys, err := o.log.one(ctx, a)
	if err != nil {
		return err
	}
	if exists(o.output) {
		return fmt.Errorf("%s: %w", o.output, atomicfile.ErrExists)
	}
	r := &report.AuditExport{Head: report.Head{Command: "audit export"}, Path: report.PathOf(o.output), Log: log.String()}
	signed, c, err := audit.Current(ctx, log, keys)
	if err != nil {
		return a.damaged(r, err)
	}
	r.Origin, r.Records = c.Origin, c.Size
	// The directory gets its name once it is complete.
	temp, err := os.MkdirTemp(filepath.Dir(o.output), ".imasign-export-")
	if err != nil {
		return fmt.Errorf("export the log: %w", err)
	}
	defer os.RemoveAll(temp) //nolint:errcheck // it is renamed, or of no use
	p := a.newProgress()
	defer p.close()
	p.begin("copied", "records", amount{items: c.Size})
	err = o.write(ctx, p, log, temp, signed, &c)
	p.close()
	if err != nil {
		return a.damaged(r, err)
	}
	if err := os.Rename(temp, o.output); err != nil {
		return fmt.Errorf("export the log: %w", err)
	}
	return a.print(r, nil)
}

// write writes the files of a log.
func (o *auditExportOptions) write(ctx context.Context, p *progress, log audit.Log, dir string, signed []byte, c *protocol.Checkpoint) error {
	err := writeNew(filepath.Join(dir, "journal"), func(w io.Writer) error {
		copied, err := translog.NewWriter(w, c.Origin)
		if err != nil {
			return err
		}
		err = audit.Verify(ctx, log, *c, audit.Options{Jobs: o.jobs, Visit: func(e *translog.Entry, _ *audit.Record) error {
			p.advance(int64(len(e.Record) + len(e.Details)))
			return copied.Add(e)
		}})
		if err != nil {
			return err
		}
		return copied.End(signed)
	})
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, "checkpoint"), func(w io.Writer) error {
		_, err := w.Write(signed)
		return err
	})
}

func writeNew(path string, write func(io.Writer) error) error {
	f, err := atomicfile.CreateNew(path, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return err
	}
	return f.Commit()
}
