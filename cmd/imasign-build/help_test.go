package main

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// metavars is the vocabulary: what kinds of values flags take.
var metavars = []string{
	"ADDRESS", "BYTES", "CHOICE", "DIR", "FILE", "HEX", "ID", "KEY", "LIST", "LOG", "N", "NAME", "OUT", "PARTITION", "PATH", "PATH=SHA256", "PATTERN", "SOURCE", "TIME", "URI", "URL", "VERSION",
}

// commands calls visit for every command, not for groups and topics.
func commands(root *cobra.Command, visit func(*cobra.Command)) {
	every(root, func(cmd *cobra.Command) {
		if !isGroup(cmd) && !cmd.IsAdditionalHelpTopicCommand() {
			visit(cmd)
		}
	})
}

// TestFlagDescriptions checks the metavariable and the description of every flag.
func TestFlagDescriptions(t *testing.T) {
	first := map[string]string{}
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Hidden {
				return
			}
			name := cmd.CommandPath() + " --" + flag.Name
			metavar, text := metavarOf(flag), flag.Usage
			switch {
			case flag.Value.Type() == "bool":
				if metavar != "" {
					t.Errorf("%s takes no value, but has the metavariable %s", name, metavar)
				}
			case !slices.Contains(metavars, metavar):
				t.Errorf("%s: the metavariable %q is not in the vocabulary", name, metavar)
			case !strings.Contains(text, metavar) && metavar != "CHOICE" && metavar != "LIST":
				t.Errorf("%s: the description does not say what %s is", name, metavar)
			}
			key := flag.Name + " -" + flag.Shorthand // --output of rootfs sign is not -o
			if other, is := first[key]; is && other != metavar {
				t.Errorf("%s: the metavariable is %s, elsewhere %s", name, metavar, other)
			}
			first[key] = metavar
			letter, _ := utf8.DecodeRuneInString(text)
			if !unicode.IsLower(letter) && !regexp.MustCompile(`^[A-Z][A-Z]`).MatchString(text) || strings.HasSuffix(text, ".") {
				t.Errorf("%s: the description %q does not begin with a lower-case letter, or ends with a full stop", name, text)
			}
			if strings.Contains(text, "default:") || strings.Contains(text, "environment:") || strings.Contains(text, "may be repeated") {
				t.Errorf("%s: the description has what describe adds", name)
			}
		})
	})
}

// TestChoices checks every flag that takes words of a list: the shells complete them, and
// the error about another word lists them.
func TestChoices(t *testing.T) {
	seen := 0
	check := func(cmd *cobra.Command, flag *pflag.Flag) {
		value := flag.Value
		if once, is := value.(*single); is {
			value = once.Value
		}
		var options []option
		switch value := value.(type) {
		case *choice:
			options = value.options
		case *choices:
			options = value.options
		default:
			return
		}
		seen++
		completed := completeLine(t, append(strings.Fields(commandName(cmd)), "--"+flag.Name, "")...)
		err := cmd.Flags().Set(flag.Name, "nonsense")
		for _, word := range optionWords(options) {
			if !slices.Contains(completed, word) {
				t.Errorf("%s --%s: %s is not completed: %q", cmd.CommandPath(), flag.Name, word, completed)
			}
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s --%s nonsense: the error does not list %s: %v", cmd.CommandPath(), flag.Name, word, err)
			}
		}
	}
	root := newRootCommand(newApp())
	commands(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) { check(cmd, flag) })
	})
	if seen < 30 {
		t.Errorf("only %d flags take words of a list", seen)
	}
}

// TestExamples checks that every command has an example, and that the flags in examples
// exist and have values that the flags take.
func TestExamples(t *testing.T) {
	commands(newRootCommand(newApp()), func(cmd *cobra.Command) {
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	})
	parsed := 0
	program := regexp.MustCompile(`imasign-build ([^|<>)#\n]*)`)
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		own := false
		text := strings.ReplaceAll(cmd.Example, "\\\n", " ")
		for _, line := range program.FindAllStringSubmatch(text, -1) {
			root := newRootCommand(newApp())
			found, args, err := root.Find(shellWords(line[1]))
			if err == nil {
				err = found.ParseFlags(args)
			}
			if err == nil && found.Args != nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line[1], err)
			}
			own = own || found.CommandPath() == cmd.CommandPath()
			parsed++
		}
		if cmd.Example != "" && !own && cmd.HasParent() {
			t.Errorf("%s: its examples do not call it", cmd.CommandPath())
		}
	})
	if parsed < 40 {
		t.Errorf("only %d examples were found", parsed)
	}
}

// shellWords splits a command line at spaces that are not in quotation marks.
func shellWords(line string) []string {
	var list []string
	for _, word := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		list = append(list, strings.NewReplacer(`'`, "", `"`, "").Replace(word))
	}
	return list
}

// TestHelpWidth checks that the help of every command fits into 80 columns, and that tables
// and paragraphs fit into 40.
func TestHelpWidth(t *testing.T) {
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		for _, width := range []int{80, 40} {
			for line := range strings.Lines(help(cmd, width)) {
				line = strings.TrimSuffix(line, "\n")
				literal := strings.Contains(line, "imasign-build ") || strings.Contains(cmd.Example, strings.TrimSpace(line)) || !strings.Contains(strings.TrimSpace(line), " ")
				if n := utf8.RuneCountInString(line); n > width && (!literal || width != 40 && n > 88) {
					t.Errorf("%s at %d columns: a line of %d: %s", cmd.CommandPath(), width, n, line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("%s at %d columns: spaces at the end of %q", cmd.CommandPath(), width, line)
				}
			}
		}
	})
}

// TestReflow checks paragraphs, lists and code.
func TestReflow(t *testing.T) {
	const text = "A paragraph\nof two lines.\n\n  one    the first item\n  three  another item, which is much longer\n\n  code --flag\n"
	const want = "A paragraph of two lines.\n\n  one    the first item\n  three  another item, which is much\n         longer\n\n  code --flag\n"
	if got := reflow(text, 40); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := reflow("  item  described", 20); got != "  item\n      described\n" {
		t.Errorf("narrow: got %q", got)
	}
}

// said runs the program and returns what it prints, and its exit code.
func said(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := newApp()
	a.in, a.out, a.err = strings.NewReader(""), &results{Writer: &out}, &errs
	a.terminal = func(io.Writer) bool { return false }
	a.getenv = func(string) (string, bool) { return "", false }
	code = run(a, args)
	return out.String(), errs.String(), code
}

// completeLine returns the words that a shell would offer for the last argument.
func completeLine(t *testing.T, args ...string) []string {
	t.Helper()
	out, errs, code := said(t, append([]string{cobra.ShellCompRequestCmd}, args...)...)
	if code != 0 {
		t.Errorf("complete %q: exit code %d: %s", args, code, errs)
	}
	var list []string
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		list = append(list, word)
	}
	return list
}
