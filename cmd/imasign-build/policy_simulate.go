package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
)

type policySimulateOptions struct {
	kernel     kernelFlags
	trust      trustFlags
	rootfs, fs string
	jobs       engineFlags
	allowEmpty bool
}

func newPolicySimulate(a *app) *cobra.Command {
	var o policySimulateOptions
	cmd := &cobra.Command{
		Use:   "simulate FILE --rootfs DIR --cert FILE…",
		Short: "Say which files of a tree a policy would have the kernel refuse",
		Long: `Simulate tries the appraise rules of a policy on a tree, as for root's processes: which
files each rule decides about, and which the kernel would refuse and why. Files with an
execute bit are taken to be executed, ELF programs and shared objects to be mapped,
lib/modules and lib/firmware to be loaded, and every file to be read.

A refusal that is certain means exit code 3, so that a device that would not boot fails
its build. "depends" is a refusal in a case that is not known here. At the end stands
what could not be judged.

What is missing of init, the shell and modprobe, with the loaders and libraries that
they name, is marked: the device does not come up without.`,
		Example: `  imasign-build policy simulate rootfs/etc/ima/ima_policy --rootfs rootfs --cert x509_ima.crt --fs squashfs`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicySimulate(cmd.Context(), a, o, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.rootfs, "rootfs", "", "the tree, a `directory`")
	flags.StringVar(&o.fs, "fs", "", "the `name` of the file system that the tree will be on, such as ext4")
	o.trust.add(flags)
	o.kernel.add(flags)
	o.jobs.addJobs(flags)
	addAllowEmpty(flags, &o.allowEmpty, "verify")
	return cmd
}

type policySimulateReport struct {
	Command  string          `json:"command"`
	jsonPath                 // of the policy
	Kernel   string          `json:"kernel"`
	Rules    []simulatedRule `json:"rules"`
	Refused  []simulatedFile `json:"refused"`
	Unknown  []string        `json:"unknown"`
	// Findings say why the kernel refuses the policy itself; then nothing else is said.
	Findings []policy.Finding `json:"findings,omitempty"`
}

// printUnloadable reports a policy that the kernel refuses, so that no file is
// appraised by it.
func (a *app) printUnloadable(findings []policy.Finding, name, kernel string) error {
	refused := policy.Group(slices.DeleteFunc(findings, func(f policy.Finding) bool { return f.Severity != policy.Refuse }))
	if a.json {
		report := policySimulateReport{
			Command: "policy simulate", jsonPath: pathJSON(name), Kernel: kernel, Findings: refused,
			Rules: []simulatedRule{}, Refused: []simulatedFile{}, Unknown: []string{},
		}
		return errors.Join(errWrong, a.printJSON(report))
	}
	text := findingLines(refused, name) + quote.Sprintf("%s: kernel %s refuses the policy: no file would be appraised by it\n", printable(name), kernel)
	return errors.Join(errWrong, a.printText(text))
}

type simulatedRule struct {
	Line     int    `json:"line"`
	Rule     string `json:"rule"`
	Passed   int    `json:"passed"`
	Refused  int    `json:"refused"`
	Possible int    `json:"possible"`
}

type simulatedFile struct {
	jsonPath
	Func     policy.Func `json:"func"`
	Line     int         `json:"line"`
	Reason   string      `json:"reason"`
	Certain  bool        `json:"certain"`
	Boot     bool        `json:"boot,omitempty"`
	NeededBy string      `json:"needed_by,omitempty"`
}

func runPolicySimulate(ctx context.Context, a *app, o policySimulateOptions, name string) error {
	switch {
	case o.rootfs == "":
		return usagef("which tree? --rootfs DIR")
	case o.jobs.jobs < 0:
		return usagef("--jobs %d: at least 1", o.jobs.jobs)
	}
	kernel, err := o.kernel.kernel(ctx)
	if err != nil {
		return err
	}
	ring, err := o.trust.ring(ctx, a)
	if err != nil {
		return err
	}
	p, err := a.readPolicy(ctx, name)
	if err != nil {
		return err
	}
	if findings := policy.Check(p, kernel); policy.Refused(findings) {
		return a.printUnloadable(findings, name, kernelName(kernel))
	}
	t, err := tree.Open(o.rootfs, tree.Options{})
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // opened for reading
	rules, _ := kernel.Rules(p)
	result, err := policy.Simulation{Kernel: kernel, Keyring: ring, FSName: o.fs, Jobs: o.jobs.jobs}.Run(ctx, t, rules)
	if err != nil {
		return err
	}
	if err := a.printSimulation(result, name, kernelName(kernel)); err != nil {
		return err
	}
	if result.Files == 0 {
		a.nothing("verify", o.rootfs, o.allowEmpty)
	}
	if result.Wrong() || result.Files == 0 && !o.allowEmpty {
		return errWrong
	}
	return nil
}

func (a *app) printSimulation(result *policy.Result, name, kernel string) error {
	if !a.json {
		return a.printText(simulationLines(result, name))
	}
	report := policySimulateReport{
		Command: "policy simulate", jsonPath: pathJSON(name), Kernel: kernel,
		Rules: []simulatedRule{}, Refused: []simulatedFile{}, Unknown: result.Unknown,
	}
	for _, t := range result.Rules {
		report.Rules = append(report.Rules, simulatedRule{t.Rule.Line, t.Rule.String(), t.Passed, t.Refused, t.Possible})
	}
	for _, v := range result.Refused {
		report.Refused = append(report.Refused, simulatedFile{pathJSON(v.Path), v.Func, v.Line, v.Reason, v.Certain, v.Boot, printableOrNone(v.NeededBy)})
	}
	return a.printJSON(report)
}

func printableOrNone(path string) string {
	if path == "" {
		return ""
	}
	return printable(path)
}

func simulationLines(result *policy.Result, name string) string {
	var b strings.Builder
	for _, v := range result.Refused {
		status, more := "refused", ""
		if !v.Certain {
			status = "depends"
		}
		if v.NeededBy != "" {
			more = "; " + printable(v.NeededBy) + " needs it"
		}
		if v.Boot {
			more += "; the device does not come up without"
		}
		quote.Fprintf(&b, "%-9s %s: %s, line %d: %s%s\n", status, printable(v.Path), v.Func, v.Line, v.Reason, more)
	}
	for _, t := range result.Rules {
		quote.Fprintf(&b, "%s:%d: %s: %s pass, %s refused, %s depend\n", printable(name), t.Rule.Line, printable(t.Rule.String()),
			count(int64(t.Passed)), count(int64(t.Refused)), count(int64(t.Possible)))
	}
	for _, text := range result.Unknown {
		quote.Fprintf(&b, "not judged: %s\n", text)
	}
	return b.String()
}
