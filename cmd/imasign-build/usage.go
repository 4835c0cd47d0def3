package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/quote"
)

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// listedError is a wrong name of a command or flag; the help of cmd lists the right ones.
type listedError struct {
	error

	cmd *cobra.Command
}

func (e listedError) Unwrap() error { return e.error }

// nextStep says where a user who gave a wrong command line finds the right one.
func nextStep(cmd *cobra.Command, err error) string {
	var listed listedError
	if errors.As(err, &listed) {
		return listed.cmd.CommandPath() + " --help lists all"
	}
	return "see " + cmd.CommandPath() + " --help"
}

// child returns the command called name directly below cmd, nil if there is none.
func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name {
			return sub
		}
	}
	return nil
}

// subcommands returns the names of the commands below cmd.
func subcommands(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// unknownCommand is the error about a word where cmd expects one of its commands.
func unknownCommand(cmd *cobra.Command, word string) error {
	what := fmt.Sprintf("unknown command %q", word)
	if cmd.HasParent() {
		what = fmt.Sprintf("%s has no command %q", commandName(cmd), word)
	}
	names := subcommands(cmd)
	suggestions := nearest(word, names)
	switch {
	case len(names) == 0:
		return usageError{listedError{fmt.Errorf("%s has no commands, but %q was given", commandName(cmd), word), cmd}}
	case word == "help":
		suggestions = []string{"help " + commandName(cmd)}
	case len(suggestions) > 0:
	case cmd.HasParent():
		what += ": it has " + enumerate(names, "and")
	default: // the word may be the second one of a command
		for _, group := range cmd.Commands() {
			if sub := child(group, word); sub != nil {
				suggestions = append(suggestions, commandName(sub))
			}
		}
	}
	return usageError{listedError{errors.New(what + didYouMean(": did you mean ", quoted(suggestions))), cmd}}
}

// isGroup reports whether a command only contains other commands.
func isGroup(cmd *cobra.Command) bool {
	return cmd.HasSubCommands() && len(strings.Fields(cmd.Use)) == 1
}

// groupArgs checks the arguments of a command that has others below it: cobra leaves it
// those that are not commands.
func groupArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

// argumentNames returns the names of the arguments in a usage line such as "sign IN -o
// OUT". The last one may be given any number of times if it ends in "…".
func argumentNames(cmd *cobra.Command) (names []string, many bool) {
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if word[0] == '-' {
			break
		}
		many = strings.HasSuffix(word, "…")
		names = append(names, strings.ReplaceAll(strings.TrimSuffix(word, "…"), "|", " or "))
	}
	return names, many
}

// checkArgs checks how many arguments were given, and says what most likely went wrong.
func (a *app) checkArgs(cmd *cobra.Command, args []string) error {
	if err := a.checkWords(cmd); err != nil {
		return err
	}
	names, many := argumentNames(cmd)
	switch {
	case len(args) < len(names):
		missing, verb := names[len(args):], "was"
		if len(missing) > 1 {
			verb = "were"
		}
		return usagef("no %s %s given%s", strings.Join(missing, " and no "), verb, whyMissing(cmd.Flags(), missing[0]))
	case len(args) == len(names) || many:
		return nil
	case len(names) == 0:
		return usagef("%s takes no arguments, but %s was given%s", commandName(cmd), quote.Name(args[0]), whyMore(cmd.Flags(), nil, args))
	case len(names) == 1:
		return usagef("one %s is expected, %d were given%s", names[0], len(args), whyMore(cmd.Flags(), names, args))
	}
	return usagef("%s are expected, %d arguments were given%s", enumerate(names, "and"), len(args), whyMore(cmd.Flags(), names, args))
}

// checkWords refuses command lines that are taken otherwise than they look: a long flag
// with one dash, and a flag in the place of another one's value.
func (a *app) checkWords(cmd *cobra.Command) error {
	flags := cmd.Flags()
	for _, word := range a.args {
		if word == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(word, "-"), "=")
		if strings.HasPrefix(word, "-") && len(name) > 1 && flags.Lookup(name) != nil {
			return usagef("-%s has one dash, and long flags have two: --%[1]s", name)
		}
	}
	var err error
	flags.Visit(func(flag *pflag.Flag) {
		for _, value := range valuesOf(flag) {
			name, long := strings.CutPrefix(value, "--")
			if name, _, _ = strings.Cut(name, "="); long && name != "" && flags.Lookup(name) != nil {
				err = usagef("--%s has no value: --%s follows it", flag.Name, name)
			}
		}
	})
	return err
}

// valuesOf returns the values that a flag was given.
func valuesOf(flag *pflag.Flag) []string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{flag.Value.String()}
}

// whyMissing guesses why an argument is missing: the flag before it took it, or standard
// input was meant.
func whyMissing(flags *pflag.FlagSet, name string) (why string) {
	flags.Visit(func(flag *pflag.Flag) {
		metavar := metavarOf(flag)
		if metavar == "" || metavar == "DIR" || metavar == "PATH" {
			return
		}
		for _, value := range valuesOf(flag) {
			if isDirectory(value) && !hasKeys(value) && slices.Contains([]string{"DIR", "PATH", "TARGET"}, name) || path.Ext(value) == ".rpm" {
				why = fmt.Sprintf(": --%s took %s: give --%[1]s its own value", flag.Name, quote.Name(value))
			}
		}
	})
	if why == "" && name == "IN" {
		return ": use - for standard input"
	}
	return why
}

// whyMore guesses why there are more arguments than names.
func whyMore(flags *pflag.FlagSet, names, args []string) string {
	extra := args[len(names):]
	var why []string
	flags.Visit(func(flag *pflag.Flag) { why = append(why, splitValue(flag, args)...) })
	if len(why) > 0 {
		return ": " + why[0]
	}
	if output := flags.ShorthandLookup("o"); output != nil && !output.Changed && len(extra) == 1 && len(names) > 0 {
		return ": the output is named by a flag: -o " + quote.Name(extra[0])
	}
	if all := strings.Join(args, " "); len(args) > 1 && exists(all) {
		return ": quote a name with spaces: " + strconv.Quote(all)
	}
	if len(names) == 1 && !slices.ContainsFunc(args, func(arg string) bool { return !exists(arg) }) {
		return ": run the command once for each"
	}
	return ""
}

// splitValue guesses whether a part of a flag's value became an argument.
func splitValue(flag *pflag.Flag, args []string) []string {
	metavar := metavarOf(flag)
	values := valuesOf(flag)
	last := values[len(values)-1]
	for _, arg := range args {
		switch {
		case metavar == "" && slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "0", "1"}, arg):
			return []string{fmt.Sprintf("--%s takes a value only after =: --%[1]s=false", flag.Name)}
		case metavar != "" && last == "":
			return []string{fmt.Sprintf("the value of --%s is empty: write it without a space before it", flag.Name)}
		case metavar == "LIST" && isOption(flag.Value.(*choices).options, strings.Trim(arg, ",")):
			return []string{fmt.Sprintf("separate the values of --%s by commas, without spaces", flag.Name)}
		case metavar == "PATTERN" && exists(last) && exists(arg) && path.Ext(last) == path.Ext(arg) && path.Dir(last) == path.Dir(arg) && path.Ext(arg) != "":
			return []string{fmt.Sprintf("the shell replaced the pattern of --%s by the names of files: quote it, as in '*%s'", flag.Name, path.Ext(arg))}
		case repeatable(flag) && metavar == "FILE" && isFile(arg) && path.Ext(last) == path.Ext(arg):
			return []string{fmt.Sprintf("repeat the flag for each file: --%[1]s %[2]s --%[1]s %[3]s", flag.Name, quote.Name(last), quote.Name(arg))}
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// hasKeys reports whether a directory has keys or certificates, for which it may stand.
func hasKeys(dir string) bool {
	keys, err := keyFiles(dir)
	_, certErr := certificateIn(dir, fileSigner)
	return err == nil && len(keys) > 0 || certErr == nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
