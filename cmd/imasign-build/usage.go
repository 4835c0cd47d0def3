package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/quote"
)

// usageArgs returns check with an error that shows which arguments the command takes.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case check(cmd, args) == nil:
			return nil
		case !cmd.HasParent():
			return unknownCommand(cmd, args[0])
		case cmd.ValidArgs != nil && len(args) == 1:
			return usagef("%s %s: it takes %s", commandName(cmd), quote.Name(args[0]), strings.Join(cmd.ValidArgs, ", "))
		}
		_, takes, _ := strings.Cut(cmd.Use, " ")
		if takes == "" {
			takes = "no arguments"
		}
		return usagef("%s takes %s, and was given %s", commandName(cmd), takes, count(len(args)))
	}
}

// count is a number of arguments.
func count(n int) string {
	switch n {
	case 0:
		return "no argument"
	case 1:
		return "one argument"
	}
	return strconv.Itoa(n) + " arguments"
}

// unknownCommand is the error for a command that cmd does not have.
func unknownCommand(cmd *cobra.Command, name string) error {
	meant := ""
	cmd.SuggestionsMinimumDistance = 2
	if list := cmd.SuggestionsFor(name); len(list) > 0 {
		meant = "; did you mean " + strings.Join(list, " or ") + "?"
	}
	if !cmd.HasParent() {
		return usagef("there is no command %q%s", name, meant)
	}
	return usagef("%s has no command %q%s", commandName(cmd), name, meant)
}

// flagError is the error for a flag that cannot be used as given. It repeats no value of
// a flag for secrets: it may be the secret itself.
func flagError(_ *cobra.Command, err error) error {
	var (
		invalid *pflag.InvalidValueError
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
	)
	switch {
	case errors.As(err, &invalid):
		flag := invalid.GetFlag()
		given := "--" + flag.Name
		if !strings.HasSuffix(flag.Name, "-pass") && !errors.Is(err, errTwice) {
			given += " " + quote.Name(invalid.GetValue())
		}
		return usagef("%s: %w", given, badValue(flag, invalid.Unwrap()))
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usagef("unknown flag: -%s", unknown.GetSpecifiedName())
	case errors.As(err, &missing):
		return usagef("--%s needs a value", missing.GetFlag().Name)
	}
	return usageError{err}
}

var (
	errNumber  = errors.New("not a whole number")
	errBoolean = errors.New("neither true nor false")
	errTwice   = errors.New("it is given twice and takes one value")
)

// badValue says which values a flag takes.
func badValue(flag *pflag.Flag, err error) error {
	switch {
	case flag.Value.Type() == "bool":
		return errBoolean
	case errors.Is(err, strconv.ErrSyntax):
		return errNumber
	}
	return quote.Plain(err)
}
