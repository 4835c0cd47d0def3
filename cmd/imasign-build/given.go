package main

import "github.com/spf13/pflag"

// idle refuses flags that were given on the command line and would have no effect:
// they are for what is not there.
func idle(flags *pflag.FlagSet, what string, names ...string) error {
	for _, name := range names {
		if flags.Changed(name) {
			return usagef("--%s is for %s", name, what)
		}
	}
	return nil
}

// once has a flag that takes one value refuse a second one, which would silently
// take the place of the first: for those that name keys, certificates and outputs.
func once(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flag := flags.Lookup(name)
		flag.Value = &single{Value: flag.Value}
	}
}

type single struct {
	pflag.Value

	given bool
}

// Set takes the first value.
func (s *single) Set(text string) error {
	if s.given {
		return errTwice
	}
	s.given = true
	return s.Value.Set(text)
}
