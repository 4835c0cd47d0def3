package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/libc"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/remote"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
)

// Exit codes, which scripts rely on.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitWrong  = 3 // verification found something wrong
)

// errWrong ends a command whose report has already said what is wrong.
var errWrong = errors.New("verification found something wrong")

// results is standard output. It keeps the first error, so that a lost result (a full disk,
// a closed pipe) changes the exit code.
type results struct {
	io.Writer
	before func() // called before each write
	begun  bool   // there was a write, which may have failed
	err    error
}

func (r *results) Write(b []byte) (int, error) {
	r.begun = true
	if r.before != nil {
		r.before()
	}
	n, err := r.Writer.Write(b)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("write the result: %w", err)
	}
	return n, err
}

// app is the program's connection to its environment: streams, variables, the command line.
// Packages in pkg/ have no access to it.
type app struct {
	in             io.Reader
	out            *results
	err            io.Writer
	screen         screen     // the terminal behind err
	asking         sync.Mutex // held while a passphrase is asked for
	width          func(io.Writer) int
	getenv         func(string) (string, bool)
	terminal       func(io.Writer) bool
	backends       keystore.Backends
	interrupts     *interrupts
	warnings       warnings
	command        *cobra.Command           // the command that runs
	active         atomic.Pointer[progress] // the progress that is rendered, if any
	json           bool
	verbose, quiet bool     // not both
	version        bool     // print the version
	args           []string // the command line
	progressFormat string
	sources        []string                   // sources of secrets, which child processes must not get
	read           map[string]keystore.Secret // of sources that can be read only once
	forget         []func()                   // overwrite these secrets
}

func newApp() *app {
	a := &app{
		in: stream(os.Stdin, closed("standard input")), out: &results{Writer: stream(os.Stdout, closed("standard output"))}, err: os.Stderr, getenv: os.LookupEnv, terminal: isTerminal, width: columns,
		backends: keystore.Backends{file.New(), pkcs11.New(), remote.New(file.Decrypt), tpm.New()},
	}
	if a.terminal(a.out.Writer) { // progress is on the same terminal
		a.out.before = func() { a.screen.erase(a.err) }
	}
	return a
}

// stream returns a standard stream. If the stream was closed when the program started, it
// returns otherwise. The Go runtime opens /dev/null in place of a closed stream: results
// would get lost, and a missing input would look like an empty one.
func stream(f *os.File, otherwise io.ReadWriter) io.ReadWriter {
	if libc.ClosedAtStart(int(f.Fd())) {
		return otherwise
	}
	return f
}

// closed is a standard stream that was closed when the program started.
type closed string

// Read always fails.
func (c closed) Read([]byte) (int, error) {
	return 0, errors.New("it is closed: open it or name a file")
}

// Write always fails.
func (c closed) Write([]byte) (int, error) {
	return 0, fmt.Errorf("%s is closed: open it or write to a file", string(c))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// run executes one command line and returns the exit code.
func run(a *app, args []string) int {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	a.interrupts = watchInterrupts(stop, a.note, a.end)
	defer a.interrupts.close()
	a.args = args
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out) // for completions and their scripts, which are not text for people
	root.SetErr(a.forPeople(a.err))
	cmd, err := root.ExecuteContextC(ctx)
	a.endWarnings()
	var usage usageError
	if errors.As(err, &usage) && asksForJSON(args) { // --json may follow the wrong flag, and then was not parsed
		a.json = true
	}
	a.command = cmd
	return a.exit(err)
}

// asksForJSON reports whether a command line has --json before any "--".
func asksForJSON(args []string) (asks bool) {
	for _, word := range args {
		name, value, given := strings.Cut(word, "=")
		switch {
		case word == "--":
			return asks
		case name != "--json":
		case !given:
			asks = true
		default:
			asks, _ = strconv.ParseBool(value)
		}
	}
	return asks
}

// end ends the process where something hangs, which may be standard error itself.
func (a *app) end() {
	erased := make(chan struct{})
	go func() {
		defer close(erased)
		a.screen.erase(a.err)
	}()
	select {
	case <-erased:
	case <-time.After(grace):
	}
	os.Exit(exitFailed)
}

// exit reports the error and returns the exit code. With --json it also prints a document
// with the error, unless the command has printed one.
func (a *app) exit(err error) int {
	switch {
	case err != nil && !errors.Is(err, errWrong):
	case errors.Is(a.out.err, syscall.EPIPE): // the reader, such as head, needs no more
		return exitFailed
	case a.out.err != nil:
		err = a.out.err
	}
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errWrong):
		return exitWrong
	}
	if a.json && !a.out.begun {
		f := &report.Failure{Head: report.Head{Command: commandName(a.command)}}
		_ = a.print(f, err) // it returns err, which is reported below
	}
	if errors.As(err, &usage) {
		a.note("%v (%s)", a.advise(err), nextStep(a.command, err))
		return exitUsage
	}
	a.note("%v", a.advise(err))
	return exitFailed
}

// commandName returns the name of a command in reports, without the program's name.
func commandName(cmd *cobra.Command) string {
	if cmd.HasParent() {
		return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	}
	return cmd.Name()
}

// note prints a message to standard error, above the line of progress.
func (a *app) note(format string, args ...any) {
	a.screen.print(a.err, a.readable(quote.Sprintf("imasign-build: "+format+"\n", args...)))
}

// stdin returns standard input. Reads end when ctx ends.
func (a *app) stdin(ctx context.Context) io.Reader {
	if f, ok := a.in.(*os.File); ok {
		return input.Stream(ctx, f, "standard input")
	}
	return a.in
}

// warn prints a warning to standard error.
func (a *app) warn(message string) { a.note("warning: %s", adviseWarning(message)) }

// date returns the date in outputs, from SOURCE_DATE_EPOCH, or the zero time. It is never
// the current time, so that equal inputs give equal outputs.
func (a *app) date() (time.Time, error) {
	text, set := a.getenv("SOURCE_DATE_EPOCH")
	if !set || text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH %q: not a number of seconds", text)
	}
	return time.Unix(seconds, 0), nil
}
