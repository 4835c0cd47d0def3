package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/kernel"
)

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for a shell",
		Long: `Completion prints a script that makes the TAB key complete commands, flags and values.
SHELL is bash, zsh or fish. The script for bash works with and without the package
bash-completion.`,
		Example: `  source <(imasign-build completion bash)
  imasign-build completion zsh >/usr/local/share/zsh/site-functions/_imasign-build
  imasign-build completion fish >~/.config/fish/completions/imasign-build.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return bashCompletion(a, root)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return usagef("shell %q: %w", args[0], unknownWord(words(cmd.ValidArgs...), args[0]))
		},
	}
}

// bashCompletion writes cobra's script for bash. The script calls two functions of the
// package bash-completion; it gets its own, for systems without the package.
func bashCompletion(a *app, root *cobra.Command) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	text := script.String()
	for _, function := range []struct{ theirs, own string }{
		{`_get_comp_words_by_ref "$@" cur prev words cword`, "__imasign-build_words"},
		{"_filedir ", "__imasign-build_filedir "},
		{"_filedir\n", "__imasign-build_filedir\n"},
	} {
		if !strings.Contains(text, function.theirs) {
			return fmt.Errorf("the script for bash does not call %s any more", strings.TrimSpace(function.theirs))
		}
		text = strings.ReplaceAll(text, function.theirs, function.own)
	}
	return a.printFile([]byte(bashFunctions + text))
}

// bashFunctions stand in for those of bash-completion. Bash splits words at ":" and "=",
// which the first one undoes. The second one completes names of directories (-d), of files
// with one of several endings (a|b|), or of all files.
const bashFunctions = `__imasign-build_words()
{
    local i=0 line=$COMP_LINE word glued
    words=() cword=0
    while (( i < ${#COMP_WORDS[@]} )); do
        word=${COMP_WORDS[i]}
        glued=1
        [[ $line == [[:space:]]* ]] && glued=
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
        if [[ $glued && ${#words[@]} -gt 0 && ( $word == [:=]* || ${words[${#words[@]}-1]} == *[:=] ) ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        (( i == COMP_CWORD )) && cword=$(( ${#words[@]} - 1 ))
        (( ++i ))
    done
    cur=${words[cword]}
    # The cursor may stand inside of the word.
    if (( COMP_POINT < ${#COMP_LINE} )); then
        local rest=${COMP_LINE:COMP_POINT}
        rest=${rest%%[[:space:]]*}
        [[ $rest && $cur == *"$rest" ]] && cur=${cur%"$rest"} && words[cword]=$cur
    fi
    prev=
    (( cword > 0 )) && prev=${words[cword-1]}
}

__imasign-build_filedir()
{
    compopt -o filenames 2>/dev/null
    local name found=
    mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    [[ $1 == -d ]] && return
    while read -r name; do
        [[ -d $name ]] && continue
        if [[ -z $1 || "|$1" == *"|${name##*.}|"* ]]; then
            COMPREPLY+=("$name") found=1
        fi
    done < <(compgen -f -- "$cur")
    # Names without any of the endings are better than none.
    if [[ ! $found && ${#COMPREPLY[@]} == 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

`

// endings of files by the kind of file that an argument or a flag names.
func endings(kind string) []string {
	switch kind {
	case "certificate":
		return []string{"crt", "pem", "der", "cer"}
	case "manifest":
		return []string{"jsonl"}
	case "package":
		return []string{"rpm"}
	}
	return nil
}

// setCompletion makes the shells complete the values of cmd's flags, and its arguments.
func setCompletion(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if complete := completionOf(flag); complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, complete) // fails only if there is one already
		}
	})
	if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = completeArguments
	}
}

// completionOf returns what completes a flag's value, nil for the shell's own completion
// of files.
func completionOf(flag *pflag.Flag) cobra.CompletionFunc {
	value := flag.Value
	if once, ok := value.(*single); ok {
		value = once.Value
	}
	switch value := value.(type) {
	case *choice:
		return fixed(value.options)
	case *choices:
		return value.complete
	case *cachePlace:
		return completeCache
	}
	metavar := metavarOf(flag)
	switch metavar {
	case "DIR":
		return directories
	case "SOURCE":
		return completeSource
	case "URI":
		return schemes(option{"pkcs11:", "key in a PKCS#11 token"}, option{"tpm2:", "key in a TPM"}, option{"file:", "key in a file"})
	case "URL":
		return schemes(option{"https:", "cache on a web server"}, option{"http:", "the same, without encryption"}, option{"file:", "cache in a directory"})
	case "KEY":
		return schemes(option{"gpg:", "key of gpg or its agent"})
	case "VERSION":
		return fixed([]option{{kernel.Newest().String(), "newest known"}, {"6.18", ""}, {"6.12", ""}, {"6.6", ""}, {kernel.Oldest().String(), "oldest known"}})
	case "FILE":
		return withEndings(endings(kindOfFile(flag.Name)))
	case "PATH", "OUT":
		return nil
	}
	return nothing // a number, a pattern, a name
}

// kindOfFile tells by a flag's name which files it takes.
func kindOfFile(flag string) string {
	switch flag {
	case "cert", "ca", "secondary", "revoked":
		return "certificate"
	case "manifest":
		return "manifest"
	}
	return ""
}

// completeArguments completes arguments by their names in the usage line.
func completeArguments(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names, many := argumentNames(cmd)
	at := len(args)
	if many {
		at = min(at, len(names)-1)
	}
	if at >= len(names) {
		return nothing(cmd, args, word)
	}
	switch name := names[at]; {
	case name == "DIR":
		return directories(cmd, args, word)
	case name == "PATH" && cmd.Parent().Name() == "rpm":
		return withEndings(endings("package"))(cmd, args, word)
	case name == "CERT":
		return withEndings(endings("certificate"))(cmd, args, word)
	case name == "MANIFEST", name == "OLD", name == "NEW":
		return withEndings(endings("manifest"))(cmd, args, word)
	case name == "DIR or URL":
		return schemes(option{"https:", "directory on a web server"}, option{"http:", ""}, option{"file:", ""})(cmd, args, word)
	case name == "URI or CERT":
		return schemes(option{"pkcs11:", "key in a PKCS#11 token"}, option{"tpm2:", "key in a TPM"})(cmd, args, word)
	}
	return nil, cobra.ShellCompDirectiveDefault
}

func nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func directories(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// withEndings completes names of files with these endings, all files without any.
func withEndings(list []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if list == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return list, cobra.ShellCompDirectiveFilterFileExt
	}
}

// fixed completes one of the options.
func fixed(options []option) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completions("", options), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completions returns options, each after a prefix.
func completions(prefix string, options []option) []cobra.Completion {
	var list []cobra.Completion
	for _, o := range options {
		list = append(list, cobra.CompletionWithDesc(prefix+o.word, o.meaning))
	}
	return list
}

// complete completes the last word of a list.
func (c *choices) complete(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	begun := word[:strings.LastIndexByte(word, ',')+1]
	given := strings.Split(begun, ",")
	left := slices.DeleteFunc(slices.Clone(c.options), func(o option) bool { return slices.Contains(given, o.word) })
	return completions(begun, left), cobra.ShellCompDirectiveNoFileComp
}

// schemes completes the beginning of a URI, and names of files.
func schemes(list ...option) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return begin(list, word)
	}
}

// begin completes one of the prefixes. It adds the names of files while the word may be
// one, because a shell completes no files beside other completions.
func begin(prefixes []option, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []cobra.Completion
	for _, p := range prefixes {
		switch {
		case strings.HasPrefix(word, p.word) && p.word == "file:":
			return unfinished(files("file:", word[len("file:"):]))
		case strings.HasPrefix(word, p.word):
			return nil, cobra.ShellCompDirectiveNoFileComp
		case strings.HasPrefix(p.word, word):
			list = append(list, completions("", []option{p})...)
		}
	}
	if list == nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return unfinished(append(list, files("", word)...))
}

// unfinished returns completions after which the shell adds no space if more can follow.
func unfinished(list []cobra.Completion) ([]cobra.Completion, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp
	for _, completion := range list {
		if word, _, _ := strings.Cut(completion, "\t"); strings.HasSuffix(word, ":") || strings.HasSuffix(word, "/") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
	}
	return list, directive
}

// files returns the names that begin with word, each after a prefix, those of directories
// with a slash behind them.
func files(prefix, word string) []cobra.Completion {
	dir, start := path.Split(word)
	at := dir
	if at == "" {
		at = "."
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil
	}
	var list []cobra.Completion
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, start) || start == "" && name[0] == '.' || strings.ContainsAny(name, "\t\n") {
			continue
		}
		if isDirectory(path.Join(at, name)) {
			name += "/"
		}
		list = append(list, prefix+dir+name)
	}
	return list
}

// completeSource completes where a secret comes from: the name of a variable, never its
// value, or a file.
func completeSource(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.HasPrefix(word, "env:") {
		var list []cobra.Completion
		for _, entry := range os.Environ() {
			if name, _, _ := strings.Cut(entry, "="); name != "" && strings.HasPrefix("env:"+name, word) {
				list = append(list, "env:"+name)
			}
		}
		slices.Sort(list)
		return list, cobra.ShellCompDirectiveNoFileComp
	}
	if path, is := strings.CutPrefix(word, "file:"); is {
		return unfinished(files("file:", path))
	}
	return unfinished(completions("", []option{{"env:", "environment variable"}, {"file:", "file"}, {"fd:", "open file descriptor"}}))
}
