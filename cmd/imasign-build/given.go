package main

import (
	"errors"

	"github.com/spf13/pflag"
)

// idle refuses flags that were given on the command line and would have no effect. what
// names the flag or input that they work with.
func idle(flags *pflag.FlagSet, what string, names ...string) error {
	for _, name := range names {
		if flags.Changed(name) {
			return usagef("--%s works only with %s", name, what)
		}
	}
	return nil
}

// once makes flags that take one value refuse a second one, which would silently replace
// the first one. It is for flags that name keys, certificates and outputs.
func once(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flag := flags.Lookup(name)
		flag.Value = &single{Value: flag.Value}
	}
}

// errTwice means that a flag for one value was given two.
var errTwice = errors.New("is given twice, but takes one value")

// single is the value of a flag that can be set once.
type single struct {
	pflag.Value

	given bool
}

// Set takes the first value and refuses others.
func (s *single) Set(text string) error {
	if s.given {
		return errTwice
	}
	s.given = true
	return s.Value.Set(text)
}
