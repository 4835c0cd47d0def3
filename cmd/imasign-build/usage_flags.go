package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/quote"
)

// flagError makes a usage error of what pflag says about the flags of cmd.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		lacking *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	if isGroup(cmd) && cmd.HasParent() { // the flag may belong to a command whose name is wrong
		if at := slices.Index(a.args, cmd.Name()); at >= 0 && at+1 < len(a.args) && !strings.HasPrefix(a.args[at+1], "-") {
			return unknownCommand(cmd, a.args[at+1])
		}
	} else if cmd.HasSubCommands() && len(a.args) > 0 && !strings.HasPrefix(a.args[0], "-") {
		return unknownCommand(cmd, a.args[0])
	}
	if wrong := a.checkWords(cmd); wrong != nil {
		return wrong
	}
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &lacking):
		flag := lacking.GetFlag()
		metavar := metavarOf(flag)
		return usagef("--%s has no value: --%[1]s %s", flag.Name, metavar)
	case errors.As(err, &invalid):
		return usageError{invalidValue(invalid)}
	}
	return usageError{err}
}

// unknownFlag is the error about a flag that cmd does not have.
func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	if word := unknown.GetSpecifiedShortnames(); word != "" {
		return unknownShorthand(cmd, word)
	}
	name := unknown.GetSpecifiedName()
	what := "unknown flag --" + quote.Text(name)
	var owners, others []string
	for _, sub := range commandsWith(cmd.Root(), name) {
		if sub.Parent() == cmd.Parent() || sub.Parent() == cmd {
			owners = append(owners, commandName(sub))
		} else {
			others = append(others, commandName(sub))
		}
	}
	var near []string
	for _, flag := range nearest(name, flagNames(cmd.Flags())) {
		near = append(near, "--"+flag)
	}
	const most = 3
	switch {
	case len(owners) == 0 && len(near) == 0 && len(others) <= most:
		owners = others
	case len(owners) > 0:
		near = nil
	}
	if len(owners) > 0 && len(near) == 0 {
		what += ": it belongs to " + enumerate(owners, "and")
	}
	return usageError{listedError{errors.New(what + didYouMean(": did you mean ", near)), cmd}}
}

// unknownShorthand is the error about letters after a single dash. It shows only the first
// one if nothing is known about the others: in -pSECRET, they are a passphrase.
func unknownShorthand(cmd *cobra.Command, letters string) error {
	what := "unknown flag -"
	word, _, _ := strings.Cut(letters, "=")
	switch near := nearest(word, flagNames(cmd.Flags())); {
	case exists("-" + letters):
		what += quote.Text(letters) + ": a file with that name is written ./-" + quote.Text(letters)
	case len(word) > 2 && len(near) > 0:
		what += quote.Text(word) + ": did you mean --" + near[0] + "?"
	default:
		_, size := utf8.DecodeRuneInString(letters)
		what += quote.Text(letters[:size])
	}
	return usageError{listedError{errors.New(what), cmd}}
}

// flagNames returns the names of the flags that the help shows.
func flagNames(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			names = append(names, flag.Name)
		}
	})
	return names
}

// commandsWith returns the commands below cmd that have a flag of their own with a name.
func commandsWith(cmd *cobra.Command, name string) (list []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if flag := sub.LocalFlags().Lookup(name); flag != nil && !flag.Hidden {
			list = append(list, sub)
		}
		list = append(list, commandsWith(sub, name)...)
	}
	return list
}

var (
	errNumber  = errors.New("not a whole number")
	errRange   = errors.New("the number is too large")
	errBoolean = errors.New("neither true nor false: leave out the value")
)

// invalidValue is the error about a value that a flag does not take.
func invalidValue(err *pflag.InvalidValueError) error {
	name, value, cause := err.GetFlag().Name, err.GetValue(), err.Unwrap()
	metavar := metavarOf(err.GetFlag())
	switch {
	case errors.Is(cause, errTwice):
		return fmt.Errorf("--%s %w", name, cause) // the value may be a secret by mistake
	case errors.Is(cause, strconv.ErrRange):
		cause = errRange
	case metavar == "N":
		cause = errNumber
	case metavar == "":
		return fmt.Errorf("--%s=%s: %w", name, quote.Name(value), errBoolean)
	}
	if value == "" {
		value = `""`
	}
	return fmt.Errorf("--%s %s: %w", name, quote.Name(value), cause)
}
