package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations of flags, which the help adds to their descriptions.
const (
	noteDefault     = "imasign-default"     // what happens without the flag, where its value does not say so
	noteEnvironment = "imasign-environment" // the variable that is the default of the flag
	noteMetavar     = "imasign-metavar"     // what kind of value the flag takes; none for boolean flags
)

func annotate(flags *pflag.FlagSet, name, note, text string) {
	if err := flags.SetAnnotation(name, note, []string{text}); err != nil {
		panic(err) // there is no such flag
	}
}

// setMetavars takes the metavariables of cmd's flags out of the back quotes in their
// descriptions, because the shells show the descriptions too.
func setMetavars(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if _, done := flag.Annotations[noteMetavar]; done {
			return
		}
		metavar, text := pflag.UnquoteUsage(flag)
		flag.Usage = text
		annotate(cmd.LocalFlags(), flag.Name, noteMetavar, metavar)
	})
}

// metavarOf returns a flag's metavariable, "" for boolean flags.
func metavarOf(flag *pflag.Flag) string { return strings.Join(flag.Annotations[noteMetavar], "") }

// Widths of the help in columns. Longer lines than the widest are hard to read.
const (
	widthDefault = 80
	widest       = 100
)

// helpWidth returns how wide the help may be.
func (a *app) helpWidth() int {
	if columns := a.width(a.out.Writer); a.terminal(a.out.Writer) && columns > 0 {
		return min(columns, widest)
	}
	return widthDefault
}

// setHelp makes root and all commands below it print the help of this file.
func setHelp(a *app, root *cobra.Command) {
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		_ = a.printFile([]byte(a.readable(help(cmd, a.helpWidth())))) // a.out keeps the error
	})
	root.SetUsageFunc(func(cmd *cobra.Command) error { return a.printFile([]byte(a.readable(usage(cmd, a.helpWidth())))) })
}

// newHelp is the command that prints the help of another one, or of a topic.
func newHelp() *cobra.Command {
	find := func(cmd *cobra.Command, words []string) (*cobra.Command, error) {
		found := cmd.Root()
		for _, word := range words {
			next := child(found, word)
			if next == nil {
				return found, unknownCommand(found, word)
			}
			found = next
		}
		return found, nil
	}
	return &cobra.Command{
		Use:   "help [COMMAND…]",
		Short: "Show the help of a command or a topic",
		Long:  `Help prints what "imasign-build COMMAND --help" prints. It also explains topics that concern several commands.`,
		Example: `  imasign-build help rootfs sign
  imasign-build help patterns`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := find(cmd, args)
			if err != nil {
				return err
			}
			return found.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			found, err := find(cmd, args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var list []cobra.Completion
			for _, sub := range found.Commands() {
				if !sub.Hidden && strings.HasPrefix(sub.Name(), word) {
					list = append(list, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// newTopic is a text that the help command prints.
func newTopic(name, short, long string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: long}
}

// help returns a command's help, for so many columns.
func help(cmd *cobra.Command, width int) string {
	text := reflow(about(cmd), width)
	if cmd.IsAdditionalHelpTopicCommand() {
		return text
	}
	return text + "\n" + usage(cmd, width)
}

// about returns what a command does: its long text, or else the short one.
func about(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return strings.TrimSpace(cmd.Long)
	}
	return cmd.Short + "."
}

// usage returns how a command is called: the part of its help after the text.
func usage(cmd *cobra.Command, width int) string {
	var b strings.Builder
	line := cmd.UseLine()
	if isGroup(cmd) {
		line = cmd.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&b, "Usage:\n  %s\n", line)
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	var commands, topics [][2]string
	for _, sub := range cmd.Commands() {
		switch {
		case sub.IsAdditionalHelpTopicCommand():
			topics = append(topics, [2]string{"  " + sub.Name(), sub.Short})
		case sub.IsAvailableCommand():
			commands = append(commands, [2]string{"  " + sub.Name(), sub.Short})
		}
	}
	section(&b, "Commands", commands, width)
	section(&b, "Help topics", topics, width)
	section(&b, "Flags", flagRows(cmd.LocalFlags()), width)
	section(&b, "Global flags", flagRows(cmd.InheritedFlags()), width)
	var more []string
	if cmd.HasSubCommands() {
		more = append(more, fmt.Sprintf(`"%s COMMAND --help" describes a command.`, cmd.CommandPath()))
	}
	if len(topics) > 0 {
		more = append(more, `"imasign-build help TOPIC" explains a topic.`)
	}
	for i, sentence := range append(more, seeTopics(cmd)...) {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString(wrap(sentence, width, 0))
	}
	return b.String()
}

// seeTopics names the topics that explain what cmd takes.
func seeTopics(cmd *cobra.Command) (sentences []string) {
	used := map[string]bool{}
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		metavar := metavarOf(flag)
		used[metavar] = true
	})
	used["URI"] = used["URI"] || strings.Contains(cmd.Use, " URI|")
	for _, topic := range []struct {
		name     string
		metavars []string
	}{{"patterns", []string{"PATTERN"}}, {"key-uris", []string{"URI", "SOURCE"}}, {"images", []string{"PARTITION"}}} {
		explained := slices.DeleteFunc(topic.metavars, func(metavar string) bool { return !used[metavar] })
		if len(explained) > 0 {
			sentences = append(sentences, fmt.Sprintf(`"imasign-build help %s" explains %s.`, topic.name, enumerate(explained, "and")))
		}
	}
	return sentences
}

// flagRows returns the flags, sorted, with their descriptions.
func flagRows(flags *pflag.FlagSet) (rows [][2]string) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		name := "      --" + flag.Name
		if flag.Shorthand != "" {
			name = "  -" + flag.Shorthand + ", --" + flag.Name
		}
		if metavar := metavarOf(flag); metavar != "" {
			name += " " + metavar
		}
		rows = append(rows, [2]string{name, describe(flag)})
	})
	return rows
}

// describe returns a flag's description, with what its value and its annotations say.
func describe(flag *pflag.Flag) string {
	text := flag.Usage
	if repeatable(flag) {
		text += "; may be repeated"
	}
	for _, note := range flag.Annotations[noteEnvironment] {
		text += " (environment: " + note + ")"
	}
	initial := flag.DefValue
	switch notes := flag.Annotations[noteDefault]; {
	case len(notes) > 0:
		initial = notes[0]
	case initial == "-":
		initial = "standard output"
	case initial == "false", initial == "0", initial == "[]":
		initial = ""
	}
	if initial != "" {
		text += " (default: " + initial + ")"
	}
	return text
}

func repeatable(flag *pflag.Flag) bool { return flag.Value.Type() == "stringArray" }
