package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/mod/sumdb/note"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog/audit"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
)

// auditFlags name logs, and the keys that sign their checkpoints.
type auditFlags struct {
	logs     []string
	keys     []string
	receipts *[]string // files of receipts, nil for commands that take none
}

func (f *auditFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.logs, "log", nil, "the log `LOG`: a directory, or https://HOST:PORT/?identity=FILE&ca=FILE as in --key, without the name of a key")
	flags.StringArrayVar(&f.keys, "log-key", nil, "trust the checkpoints of logs signed by the keys in `FILE`, one per line, as name+hash+key")
}

// addReceipts is for commands that also take receipts.
func (f *auditFlags) addReceipts(flags *pflag.FlagSet) {
	f.add(flags)
	f.receipts = flags.StringArray("receipts", nil, "the receipts in `FILE`, as commands that sign write them: neither a log nor a network is needed")
}

// files returns the files of receipts.
func (f *auditFlags) files() (list []audit.Receipts) {
	if f.receipts != nil {
		for _, file := range *f.receipts {
			list = append(list, audit.Receipts(file))
		}
	}
	return list
}

// open returns the logs and the keys that verify their checkpoints. There may be only receipts.
func (f *auditFlags) open(ctx context.Context, a *app) (logs []audit.Log, keys []note.Verifier, err error) {
	switch {
	case len(f.logs) == 0 && f.receipts == nil:
		return nil, nil, usagef("no log was given: --log LOG")
	case len(f.logs) == 0 && len(*f.receipts) == 0:
		return nil, nil, usagef("no log was given: --log LOG, or --receipts FILE")
	}
	if len(f.keys) == 0 {
		return nil, nil, usagef("no key was given to verify the log with: --log-key FILE")
	}
	for _, file := range f.keys {
		list, err := readLogKeys(ctx, file)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, list...)
	}
	for _, name := range f.logs {
		if !strings.HasPrefix(strings.ToLower(name), "https:") {
			logs = append(logs, audit.Dir(name))
			continue
		}
		list, err := a.serverLogs(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		logs = append(logs, list...)
	}
	return logs, keys, nil
}

// serverLogs returns the logs of the servers in a URI.
func (a *app) serverLogs(ctx context.Context, uri string) (logs []audit.Log, err error) {
	source, _ := a.getenv(passVariable)
	secret, err := a.secret(passVariable, source)
	if err != nil {
		return nil, err
	}
	client, servers, err := remote.Client(ctx, uri, file.Decrypt, keystore.Options{Secret: secret, Warn: a.warn, Getenv: a.uriSecret})
	if errors.Is(err, remote.ErrURI) {
		err = usageError{fmt.Errorf("--log: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	for _, server := range servers {
		logs = append(logs, audit.NewRemote(client, server))
	}
	return logs, nil
}

// one is open for commands that take one log.
func (f *auditFlags) one(ctx context.Context, a *app) (audit.Log, []note.Verifier, error) {
	logs, keys, err := f.open(ctx, a)
	if err == nil && len(logs) > 1 {
		err = usagef("--log names %d logs, where only one is possible", len(logs))
	}
	if err != nil {
		return nil, nil, err
	}
	return logs[0], keys, nil
}

// maxLogKeys is the size in bytes of the largest file with keys of logs.
const maxLogKeys = 1 << 20

// errNoLogKey means that a file has no key of a log.
var errNoLogKey = errors.New("not the key of a log")

// readLogKeys reads the keys of logs, one in a line. Empty lines, and lines that begin with #,
// are ignored.
func readLogKeys(ctx context.Context, file string) (keys []note.Verifier, err error) {
	data, err := input.ReadFile(ctx, file, maxLogKeys)
	if err != nil {
		return nil, fmt.Errorf("read the key of the log: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: a line is not name+hash+key", file, errNoLogKey)
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, fmt.Errorf("%s: %w: it is empty", file, errNoLogKey)
	}
	return keys, nil
}

// readOldCheckpoint reads a checkpoint that was kept.
func readOldCheckpoint(ctx context.Context, file string, keys []note.Verifier) (*protocol.Checkpoint, error) {
	signed, err := input.ReadFile(ctx, file, maxLogKeys)
	if err != nil {
		return nil, fmt.Errorf("read the older checkpoint: %w", err)
	}
	c, err := audit.OpenCheckpoint(signed, keys)
	if err != nil {
		return nil, fmt.Errorf("read the older checkpoint: %s: %w", file, err)
	}
	return &c, nil
}

// damaged ends a command for which a log is of no use: with exit code 3 if it is damaged. r has
// nothing but what the command is about.
func (a *app) damaged(r report.Document, err error) error {
	if !errors.Is(err, translog.ErrDamaged) {
		return err
	}
	a.note("%v", err)
	if !a.json {
		return errWrong
	}
	r.Fail(a.failure(err))
	return a.print(r, errWrong)
}

// auditCauses are those of logs of signing services.
func auditCauses() []cause {
	return []cause{
		{err: translog.ErrDamaged, kind: "malformed"},
		{err: translog.ErrLocked, kind: "busy"},
		{err: errNoLogKey, kind: "malformed", advice: "`serve init` and the administrator of the service have it"},
	}
}
