package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/imasign/imasign-build/internal/quote"
)

// errDeclined means that the user was asked and did not agree.
var errDeclined = errors.New("not confirmed: nothing was done")

// canAsk reports whether there is a terminal to ask a question on.
func (a *app) canAsk() bool {
	stdin, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(stdin.Fd()))
}

// confirm asks a question on the terminal. Only "y" and "yes" agree; the error is errDeclined
// for any other answer.
func (a *app) confirm(ctx context.Context, question string) error {
	stdin, ok := a.in.(*os.File)
	if !ok {
		return errDeclined
	}
	a.asking.Lock() // one question at a time
	defer a.asking.Unlock()
	defer a.prompting()()
	quote.Fprintf(a.forPeople(a.err), "%s [y/N] ", question)
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := readLine(int(stdin.Fd()))
		answers <- answer{text, err}
	}()
	select {
	case got := <-answers:
		if got.err != nil {
			return got.err
		}
		switch strings.ToLower(strings.TrimSpace(string(got.text))) {
		case "y", "yes":
			return nil
		}
		return errDeclined
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
