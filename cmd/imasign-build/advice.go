package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// cause is a reason to fail: its kind in JSON documents, and what a user can do about it.
// Packages know neither flags nor commands, so only the files advice_*.go give advice that
// names them.
type cause struct {
	err    error
	kind   string // "" if another cause decides
	advice string
	on     string // the advice is for this command; "" for all
	flag   string // for commands with this flag; "" for all
	given  string // and for runs in which this flag was given; "" for all
}

// Advice of several causes.
const (
	again     = "copy or build it again"
	elsewhere = "remove it or name another place"
)

// causes returns all causes. The first one that an error wraps decides about the kind, and
// the first one with advice for the command decides about the advice.
func causes() []cause {
	return slices.Concat(
		[]cause{{err: errInterrupted, kind: "interrupted"}, {err: context.Canceled, kind: "interrupted"}},
		keyCauses(), valueCauses(), containerCauses(), imageCauses(), packageCauses(), cacheCauses(), approvalCauses(), auditCauses(), fileCauses())
}

// adviseWarning returns a warning with what can be done about it.
func adviseWarning(message string) string {
	for _, w := range []struct{ about, advice string }{
		{repo.InPlace, "-o OUT --swap has no such moment"},
		{repo.SignatureLeftOut, "--openpgp-key makes a new one"},
		{keystore.NotBound, "key init --on makes one that cannot"},
		{keystore.FromService, "name the one that devices trust with --cert"},
	} {
		if strings.Contains(message, w.about) {
			return message + ": " + w.advice
		}
	}
	return message
}

// advise returns err with what can be done about it at the end of its line. Where it has
// several lines, each has its own.
func (a *app) advise(err error) error {
	switch all, inner := lines(err), errors.Unwrap(err); {
	case all != nil:
		advised := make([]error, len(all))
		for i, one := range all {
			advised[i] = a.advise(one)
		}
		return errors.Join(advised...)
	case inner != nil && strings.Contains(inner.Error(), "\n"):
		if before, after, found := strings.Cut(err.Error(), inner.Error()); found {
			return around{before, a.advise(inner), after}
		}
	}
	for _, about := range []func(error) string{a.adviceOnFormat, a.adviceOnPath} {
		if text := about(err); text != "" {
			return advised{err, text}
		}
	}
	for _, c := range causes() {
		if c.advice == "" || !errors.Is(err, c.err) || !a.concerns(c) {
			continue
		}
		if says(err, c.advice) {
			return err
		}
		return advised{err, c.advice}
	}
	if text := a.adviceOnSystem(err); text != "" {
		return advised{err, text}
	}
	return err
}

// says reports whether the text of an error has the advice, or says itself what to do.
func says(err error, advice string) bool {
	text := err.Error()
	return slices.ContainsFunc([]string{advice, ": copy it again", "; give a file that has only the certificate", "; to convert it: ", "; run e2fsck ", " converts it", " converts that", " openssl genpkey make it"}, func(s string) bool { return strings.Contains(text, s) })
}

// lines returns the errors that err shows on lines of their own, nil where it is one.
func lines(err error) []error {
	switch e := err.(type) { //nolint:errorlint // what it wraps has its turn
	case interface{ Lines() []error }:
		return e.Lines()
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); len(all) > 0 && err.Error() == errors.Join(all...).Error() {
			return all
		}
	}
	return nil
}

// around is the text of an error around one that it wraps.
type around struct {
	before string
	inner  error
	after  string
}

func (e around) Error() string { return e.before + e.inner.Error() + e.after }

func (e around) Unwrap() error { return e.inner }

// advised is an error with advice.
type advised struct {
	error

	advice string
}

func (e advised) Error() string { return e.error.Error() + ": " + e.advice }

func (e advised) Unwrap() error { return e.error }

// concerns reports whether a cause's advice is for the command that runs.
func (a *app) concerns(c cause) bool {
	if a.command == nil {
		return c.on == "" && c.flag == "" && c.given == ""
	}
	flags := a.command.Flags()
	return (c.on == "" || c.on == commandName(a.command)) && (c.flag == "" || flags.Lookup(c.flag) != nil) && (c.given == "" || flags.Changed(c.given))
}

// failure is an error as JSON documents have it.
func (a *app) failure(err error) report.Error {
	return report.Error{Message: a.advise(err).Error(), Kind: kindOf(err), Path: report.PathOf(a.pathOf(err))}
}

// kindOf returns a short word for an error, which does not change.
func kindOf(err error) string {
	var usage usageError
	if errors.As(err, &usage) {
		return "usage"
	}
	for _, c := range causes() {
		if c.kind != "" && errors.Is(err, c.err) {
			return c.kind
		}
	}
	var system syscall.Errno
	if errors.As(err, &system) {
		return "io"
	}
	return "failed"
}

// pathOf is the path that an error is about, "" where it does not tell.
func pathOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path
	case errors.As(err, &link):
		return link.New
	}
	return ""
}
