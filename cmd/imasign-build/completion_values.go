package main

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

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
	return unfinished(completions("", []option{{"env:", "environment variable"}, {"file:", "file"}, {"fd:", "open file descriptor"}, {"cred:", "credential of a systemd service"}}))
}
