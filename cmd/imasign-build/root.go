package main

import (
	"github.com/spf13/cobra"
)

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "imasign-build",
		Short: "Sign files for Linux IMA appraisal",
		Long: `imasign-build signs the files of device images for Linux IMA appraisal and verifies the
signatures. It works on directory trees, RPM packages, repositories, tar archives, container
images and finished images. It also makes the keys, certificates, policies and initramfs hooks
that appraisal needs.

Exit codes:

  0  success
  1  failure; no output is left half-written
  2  wrong command line
  3  verification found something wrong

Results go to standard output. Warnings, errors and progress go to standard error: progress
is one line on a terminal, and a line every 5 seconds in a log. No output has colours.
In a locale without UTF-8, such as C, text is ASCII; file names are escaped.
--quiet prints only warnings, errors, what fails verification, and documents and files
that a command exists to print.`,
		Example: `  imasign-build key init keys
  imasign-build rootfs sign --key keys/x509_ima.key --cert keys/x509_ima.crt rootfs/
  imasign-build rootfs verify --cert keys/x509_ima.crt rootfs/`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          groupArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case a.version && a.json:
				return runVersion(a)
			case a.version:
				return a.printFile([]byte(programVersion().Line() + "\n"))
			case a.json:
				return usagef("--json needs a command: %s", enumerate(subcommands(cmd), "or"))
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.command = cmd
			progress := a.progressFormat
			if a.quiet && (progress == "bar" || progress == "plain") {
				return usagef("--quiet and --progress %s exclude each other", progress)
			}
			if a.quiet && a.verbose {
				return usagef("--quiet and --verbose exclude each other")
			}
			return a.checkPreload()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(a.flagError)
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print the result as one JSON document")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "report every entry, not only those that are wrong")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only what is wrong, and what the command exists to print")
	choiceVar(flags, &a.progressFormat, "progress", "auto", "how to show progress", []option{
		{"auto", "bar on a terminal, plain elsewhere"}, {"bar", ""}, {"plain", "a line every 5 seconds"}, {"none", ""},
	})
	root.Flags().BoolVar(&a.version, "version", false, "print the first line of what the command version prints")
	help := newHelp()
	root.SetHelpCommand(help)
	root.AddCommand(newTopics()...)
	root.AddCommand(
		newGroup("rootfs", "Sign and verify a directory tree, or search it for private keys", newRootfsSign(a), newRootfsVerify(a), newRootfsStrip(a), newRootfsScan(a)),
		newGroup("rpm", "Sign and verify the files of RPM packages", newRPMSign(a), newRPMVerify(a), newRPMShow(a), newRPMStrip(a), newRPMDigests(a)),
		newGroup("repo", "Sign and verify repositories of RPM packages", newRepoSign(a), newRepoVerify(a), newRepoStrip(a), newRepoRefresh(a)),
		newGroup("tar", "Sign and verify tar archives", newTarSign(a), newTarCreate(a), newTarVerify(a), newTarStrip(a)),
		newGroup("image", "Verify, list and sign finished file system and disk images", newImageVerify(a), newImageList(a), newImageSign(a)),
		newGroup("manifest", "Sign, apply and compare manifests", newManifestSign(a), newManifestApply(a), newManifestDiff(a)),
		newGroup("key", "Make, show and check keys and certificates", newKeyInit(a), newKeyRequest(a), newKeyShow(a), newKeyCheck(a)),
		newGroup("policy", "Check, write and try out IMA policies", newPolicyCheck(a), newPolicyGenerate(a), newPolicySimulate(a)),
		newGroup("initramfs", "Make what an initramfs needs for appraisal", newInitramfsBundle(a)),
		newGroup("cache", "Show, verify, prune and share the signature cache", newCacheStats(a), newCacheVerify(a), newCachePrune(a), newCacheExport(a), newCacheImport(a)),
		newServe(a), newApprove(a),
		newGroup("audit", "Verify the logs of signing services, and find signatures in them", newAuditVerify(a), newAuditProve(a), newAuditShow(a), newAuditExport(a)),
		newVersion(a), newCompletion(a), help,
	)
	setHelp(a, root)
	complete(a, root)
	return root
}

// complete sets up what all commands have in common, for cmd and the commands below it.
func complete(a *app, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Usage = "show this help"
	if cmd.Args == nil {
		cmd.Args = a.checkArgs
	}
	setMetavars(cmd)
	setCompletion(cmd)
	for _, sub := range cmd.Commands() {
		complete(a, sub)
	}
}

// newGroup returns a command that only contains other commands.
func newGroup(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short,
		Args: groupArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%s needs a command: %s", commandName(cmd), enumerate(subcommands(cmd), "or"))
		},
	}
	group.AddCommand(commands...)
	return group
}
