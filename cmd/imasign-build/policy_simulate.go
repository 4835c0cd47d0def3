package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/simulate"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rootfs"
)

type policySimulateOptions struct {
	kernel      kernelFlags
	verity      verityParameters
	trust       trustFlags
	evm         evmTrustFlags
	rootfs, fs  string
	evmVersion3 bool
	image       string
	input       imageInputFlags
	partition   partitionFlags
	jobs        engineFlags
	allowEmpty  bool
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

The kernel does not know what keys are for, so simulate uses every key for all signatures.
It warns of keys for version 2 that are trusted where version 3 is demanded, and of keys
that are trusted for two purposes.

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
	flags.BoolVar(&o.evmVersion3, "evm-v3", false, "assume that EVM demands version 3 signatures (bit 3)")
	o.verity.add(flags)
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
	if len(o.evm.certs) == 0 {
		if err := idle(flags, "--evm-cert", "evm-v3"); err != nil {
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
	device, trusted, err := o.device(ctx, a)
	if err != nil {
		return err
	}
	p, err := a.readPolicy(ctx, name)
	if err != nil {
		return err
	}
	r := &report.Simulation{Head: report.Head{Command: "policy simulate"}, Path: report.PathOf(name), Kernel: kernelName(device.Kernel.Version), Loads: true}
	target := policy.Target{Profile: device.Kernel}
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
	result, err := device.Run(ctx, engine, files, rules)
	if err := errors.Join(err, closeFiles()); err != nil {
		return err
	}
	progress.close()
	simulated(r, result)
	r.Unknown = append(r.Unknown, unmodelled(p, rules)...)
	r.Findings = reported(trusted.check(rules, o.evmVersion3))
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

// unmodelled names the lines of a policy that only a newer kernel than the known ones may accept.
// rules are the other ones.
func unmodelled(p *policy.Policy, rules []*policy.Rule) []string {
	var list []string
	for _, line := range p.Lines {
		known := slices.ContainsFunc(rules, func(r *policy.Rule) bool { return r.Line == line.Number })
		if len(line.Words) > 0 && !known {
			list = append(list, fmt.Sprintf("line %d: what Linux up to %s does not accept, a later release may (policy check has the details)", line.Number, kernel.Newest()))
		}
	}
	return list
}

// device reads what the flags say about the device.
func (o *policySimulateOptions) device(ctx context.Context, a *app) (d simulate.Device, trusted trustedKeys, err error) {
	d.EVMVersion3, d.FSName = o.evmVersion3, o.fs
	if d.Kernel, err = o.kernel.kernel(ctx); err != nil {
		return d, trusted, err
	}
	verity, err := o.verity.get()
	if err != nil {
		return d, trusted, err
	}
	d.Verity = &verity
	if o.evmVersion3 && d.Kernel.Version.Before(7, 1) {
		return d, trusted, usagef("--evm-v3: EVM has bit 3 since Linux 7.1")
	}
	o.trust.purpose = "any" // the kernel does not know purposes
	if trusted.ima, err = o.trust.keys(ctx, a); err != nil {
		return d, trusted, err
	}
	d.Trusted = a.keyring(trusted.ima)
	if trusted.evm, err = readKeys(ctx, o.evm.certs, evmSigner, o.trust.purpose); len(trusted.evm) > 0 {
		d.EVM = ima.NewKeyring(trusted.evm...)
	}
	return d, trusted, err
}

// trustedKeys are the keys in a device's keyrings.
type trustedKeys struct{ ima, evm []*ima.PublicKey }

// check warns of keys that are trusted for more than they are for.
func (t *trustedKeys) check(rules []*policy.Rule, evmVersion3 bool) []finding.Finding {
	return certs.CheckTrusted(certificatesOf(t.ima), certificatesOf(t.evm), certs.Demands{
		IMA: slices.ContainsFunc(rules, func(r *policy.Rule) bool { return r.Action == policy.Appraise && r.AppraiseType.V3() }),
		EVM: evmVersion3,
	})
}

func certificatesOf(keys []*ima.PublicKey) (list []*x509.Certificate) {
	for _, key := range keys {
		list = append(list, key.Certificate())
	}
	return list
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
	r.Unknown, r.Limits = result.Unknown, result.Limits
	for _, t := range result.Rules {
		r.Rules = append(r.Rules, report.SimulatedRule{Line: t.Rule.Line, Text: t.Rule.String(), Passed: t.Passed, Refusals: t.Refused, Possible: t.Possible})
	}
	for _, v := range result.Refused {
		f := report.SimulatedFile{Path: report.PathOf(v.Path), Func: string(v.Func), Line: v.Line, Reason: v.Reason, Cause: v.Cause, Certain: v.Certain, Boot: v.Boot}
		if v.NeededBy != "" {
			f.NeededBy = quote.Name(v.NeededBy)
		}
		r.Refused = append(r.Refused, f)
	}
}
