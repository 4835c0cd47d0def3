package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/simulate"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/rootfs"
)

type policySimulateOptions struct {
	kernel     kernelFlags
	trust      trustFlags
	evm        evmTrustFlags
	rootfs, fs string
	image      string
	input      imageInputFlags
	partition  partitionFlags
	jobs       engineFlags
	allowEmpty bool
}

func newPolicySimulate(a *app) *cobra.Command {
	var o policySimulateOptions
	cmd := &cobra.Command{
		Use:   "simulate FILE --rootfs DIR|--image FILE --cert FILE…",
		Short: "Show which files of a tree or image the kernel would refuse under a policy",
		Long: `Simulate applies the appraise rules of the policy in FILE to a directory tree, or to a
file system image. It shows which files each rule covers, and which files the kernel would
refuse, with the reason. FILE may be -, for standard input.

Simulate assumes processes of root that execute all files with an execute bit, map all
ELF programs and shared objects, load everything in lib/modules and lib/firmware, and
read every file.

A certain refusal means exit code 3, so that the build of a device that would not boot
fails. "depends" marks a refusal that depends on something unknown. The report ends with
what could not be decided.

With --evm-cert, simulate assumes a kernel that has EVM enabled, and also judges
security.evm. The report ends with what EVM changes on the device.

The report marks refused files that the device needs to boot: init, the shell and
modprobe, with the loaders and libraries that they name.`,
		Example: `  imasign-build policy simulate rootfs/etc/ima/ima_policy --rootfs rootfs \
      --cert x509_ima.crt --fs squashfs
  imasign-build policy simulate ima_policy --rootfs rootfs --cert keys/ \
      --evm-cert keys/
  imasign-build policy simulate ima_policy --image disk.wic --partition rootfs \
      --cert keys/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.idle(cmd.Flags()); err != nil {
				return err
			}
			return runPolicySimulate(cmd.Context(), a, o, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.rootfs, "rootfs", "", "apply the policy to the tree in `DIR`")
	flags.StringVar(&o.image, "image", "", "apply the policy to the image in `FILE`")
	o.partition.add(flags)
	o.input.add(flags, filesLimited)
	flags.StringVar(&o.fs, "fs", "", "assume that the files are on the file system `NAME`, such as ext4")
	annotate(flags, "fs", noteDefault, "that of the image")
	o.trust.add(flags)
	o.evm.add(flags)
	o.kernel.add(flags)
	o.jobs.addJobs(flags)
	addAllowEmpty(flags, &o.allowEmpty, "verify")
	return cmd
}

// idle refuses flags that have no effect.
func (o *policySimulateOptions) idle(flags *pflag.FlagSet) error {
	switch {
	case o.rootfs == "" && o.image == "":
		return usagef("no tree was given: --rootfs DIR, or --image FILE")
	case o.rootfs != "" && o.image != "":
		return usagef("--rootfs and --image exclude each other")
	case o.image == "":
		if err := idle(flags, "--image", "partition", "sector", "unpack-limit"); err != nil {
			return err
		}
	}
	return o.evm.idle(flags)
}

func runPolicySimulate(ctx context.Context, a *app, o policySimulateOptions, name string) error {
	progress := a.newProgress()
	defer progress.close()
	progress.entries("judged", false)
	o.evm.require = true // EVM demands a value of every file
	engine, err := o.jobs.engine(nil, nil, progress.observer, o.evm.stages()...)
	if err != nil {
		return err
	}
	k, err := o.kernel.kernel(ctx)
	if err != nil {
		return err
	}
	o.trust.purpose = "any" // the kernel does not know purposes
	ring, err := o.trust.ring(ctx, a)
	if err != nil {
		return err
	}
	evm, err := o.evm.ring(ctx, o.trust.purpose)
	if err != nil {
		return err
	}
	p, err := a.readPolicy(ctx, name)
	if err != nil {
		return err
	}
	r := &report.Simulation{Head: report.Head{Command: "policy simulate"}, Path: report.PathOf(name), Kernel: kernelName(k.Version), Loads: true}
	target := policy.Target{Profile: k}
	if findings := policy.Check(p, target); finding.Refused(findings) { // the policy would not load, and so would not appraise any file
		r.Loads = false
		r.Findings = reported(finding.Group(slices.DeleteFunc(findings, func(f finding.Finding) bool { return f.Severity != finding.Refuse })))
		return a.print(r, errWrong)
	}
	files, closeFiles, err := o.files(ctx, a, progress)
	if err != nil {
		return err
	}
	rules, _ := target.Rules(p)
	result, err := simulate.Device{Kernel: k, Trusted: ring, EVM: evm, FSName: o.fs}.Run(ctx, engine, files, rules)
	if err := errors.Join(err, closeFiles()); err != nil {
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
		a.nothing("verify", cmp.Or(o.rootfs, o.image), o.allowEmpty)
	}
	return err
}

// files opens what the policy is tried on, and finds out for which kernels its security.evm
// must be. Closing it is an error if an image has changed meanwhile.
func (o *policySimulateOptions) files(ctx context.Context, a *app, p *progress) (simulate.Tree, func() error, error) {
	if o.image != "" {
		return o.filesOfImage(ctx, a, p)
	}
	p.count(treeCount{paths: []string{o.rootfs}, files: true})
	t, err := tree.Open(o.rootfs, tree.Options{})
	if err != nil {
		return nil, nil, err
	}
	if err := o.learnTarget(ctx, a); err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	return simulate.OfDirectory(t), t.Close, nil
}

func (o *policySimulateOptions) filesOfImage(ctx context.Context, a *app, p *progress) (simulate.Tree, func() error, error) {
	img, err := o.input.open(ctx, a, o.image)
	if err != nil {
		return nil, nil, err
	}
	src, err := o.partition.source(img, o.input.unpackLimit, nil)
	if err == nil {
		err = o.evm.learn(ctx, a, src)
	}
	if err != nil {
		return nil, nil, errors.Join(err, img.Close())
	}
	p.count(imageCount{src, true})
	return simulate.OfImage(src), func() error { return errors.Join(img.Unchanged(), img.Close()) }, nil
}

// learnTarget finds out for which kernels the tree's security.evm must be.
func (o *policySimulateOptions) learnTarget(ctx context.Context, a *app) error {
	t, err := rootfs.Open(o.rootfs, rootfs.Options{})
	if err != nil {
		return err
	}
	return errors.Join(o.evm.learn(ctx, a, t), t.Close())
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
