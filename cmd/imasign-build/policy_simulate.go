package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/simulate"
	"github.com/imasign/imasign-build/internal/finding"
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

func runPolicySimulate(ctx context.Context, a *app, o policySimulateOptions, name string) error {
	if o.rootfs == "" {
		return usagef("which tree? --rootfs DIR")
	}
	progress := a.newProgress()
	defer progress.close()
	progress.entries("judged", false)
	progress.count(treeCount{paths: []string{o.rootfs}, files: true})
	engine, err := o.jobs.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	k, err := o.kernel.kernel(ctx)
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
	r := &report.Simulation{Head: report.Head{Command: "policy simulate"}, Path: report.PathOf(name), Kernel: kernelName(k.Version), Loads: true}
	target := policy.Target{Profile: k}
	if findings := policy.Check(p, target); finding.Refused(findings) { // no file would be appraised by it
		r.Loads = false
		r.Findings = reported(finding.Group(slices.DeleteFunc(findings, func(f finding.Finding) bool { return f.Severity != finding.Refuse })))
		return a.print(r, errWrong)
	}
	t, err := tree.Open(o.rootfs, tree.Options{})
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // opened for reading
	rules, _ := target.Rules(p)
	result, err := simulate.Device{Kernel: k, Trusted: ring, FSName: o.fs}.Run(ctx, engine, t, rules)
	if err != nil {
		return err
	}
	progress.close()
	simulated(r, result)
	err = nil
	if result.Wrong() || result.Files == 0 && !o.allowEmpty {
		err = errWrong
	}
	err = a.print(r, err)
	if result.Files == 0 {
		a.nothing("verify", o.rootfs, o.allowEmpty)
	}
	return err
}

// simulated fills a report.
func simulated(r *report.Simulation, result *simulate.Result) {
	r.Unknown = result.Unknown
	for _, t := range result.Rules {
		r.Rules = append(r.Rules, report.SimulatedRule{Line: t.Rule.Line, Text: t.Rule.String(), Passed: t.Passed, Refusals: t.Refused, Possible: t.Possible})
	}
	for _, v := range result.Refused {
		f := report.SimulatedFile{Path: report.PathOf(v.Path), Func: string(v.Func), Line: v.Line, Reason: v.Reason, Certain: v.Certain, Boot: v.Boot}
		if v.NeededBy != "" {
			f.NeededBy = quote.Name(v.NeededBy)
		}
		r.Refused = append(r.Refused, f)
	}
}
