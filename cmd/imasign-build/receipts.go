package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/keystore"
)

func (f *engineFlags) addReceipts(flags *pflag.FlagSet) {
	flags.StringVar(&f.receipts, "receipts", "", "write the receipts of a signing service to `FILE`: the record of each batch, and the proof that the service's log has it")
	once(flags, "receipts")
}

// checkReceipts refuses --receipts for keys that give none.
func (f *engineFlags) checkReceipts(keys ...string) error {
	if f.receipts == "" {
		return nil
	}
	if f.receipts == "-" {
		return usagef("--receipts takes a file, not standard output")
	}
	for _, key := range keys {
		if scheme, _, _ := strings.Cut(key, ":"); strings.EqualFold(scheme, "https") {
			return nil
		}
	}
	return usagef("--receipts has no effect without a key of a signing service (https:)")
}

// receipts is a file of receipts, one JSON object in a line. They are collected in a file
// without a name, because the final one may be in a tree that is being signed.
type receipts struct {
	app  *app
	path string

	mu    sync.Mutex
	spool *os.File
	size  int64
	err   error
}

// newReceipts returns the file at path, which appears with Commit. A place that cannot be
// written to is an error now.
func (a *app) newReceipts(path string) (*receipts, error) {
	probe, err := a.create(path)
	if err != nil {
		return nil, err
	}
	probe.Abort()
	spool, err := input.Spool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.ErrSpool, err)
	}
	return &receipts{app: a, path: path, spool: spool}, nil
}

// take adds a receipt. Commit returns the error, if there is one.
func (r *receipts) take(one keystore.Receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		var n int
		n, r.err = report.Receipt(one).Write(r.spool)
		r.size += int64(n)
	}
}

// Commit makes the file appear, with all receipts so far. It may be called again.
func (r *receipts) Commit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return fmt.Errorf("collect the receipts: %w", r.err)
	}
	return r.app.writeOutput(r.path, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(r.spool, 0, r.size))
		return err
	})
}

func (r *receipts) close() { _ = r.spool.Close() } // it has no name
