package main

import (
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
	if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil && !isGroup(cmd) {
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
		return schemes(option{"pkcs11:", "key in a PKCS#11 token"}, option{"tpm2:", "key in a TPM"}, option{"https:", "key of a signing service"}, option{"file:", "key in a file"})
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
	case "cert", "ca", "secondary", "revoked", "for-key":
		return "certificate"
	case "manifest", "previous":
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
		return schemes(option{"pkcs11:", "key in a PKCS#11 token"}, option{"tpm2:", "key in a TPM"}, option{"https:", "key of a signing service"})(cmd, args, word)
	}
	return nil, cobra.ShellCompDirectiveDefault
}
