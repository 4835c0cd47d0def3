package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/policy"
)

func newPolicyCheck(a *app) *cobra.Command {
	var o policyCheckOptions
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what the kernel would refuse of an IMA policy, and what is risky",
		Long: `Check takes each line as the kernel does, and gives the line, the column and the
reason where the kernel says EINVAL and no more. Then it names rules that contradict
each other and rules that are risky.

"refuse" is what that kernel does not take; "error" is a policy that loads and does
not do what it is for, or keeps the device from booting; both mean exit code 3.
"warn" is for what is probably not intended, "note" for what is worth knowing. A
finding about many lines is reported once; -v reports it for each line.

Where the verdict depends on the kernel's configuration, --kernel-config decides; without
it, the dependency is reported. With --initramfs the policy is checked as the one that
the hook of initramfs bundle loads: before any other, as text, and before a security
module has its own policy. - is standard input.`,
		Example: `  imasign-build policy check --kernel 6.12 --kernel-config .config ima_policy`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyCheck(cmd.Context(), a, o, args[0])
		},
	}
	o.kernel.add(cmd.Flags())
	cmd.Flags().BoolVar(&o.early, "initramfs", false, "check it as the policy that an initramfs loads")
	return cmd
}

type policyCheckOptions struct {
	kernel kernelFlags
	early  bool
}

func runPolicyCheck(ctx context.Context, a *app, o policyCheckOptions, name string) error {
	k, err := o.kernel.kernel(ctx)
	if err != nil {
		return err
	}
	p, err := a.readPolicy(ctx, name)
	if err != nil {
		return err
	}
	target := policy.Target{Profile: k, Early: o.early}
	rules, _ := target.Rules(p)
	findings := policy.Check(p, target)
	if !a.verbose {
		findings = finding.Group(findings)
	}
	r := &report.PolicyCheck{
		Head: report.Head{Command: "policy check"}, Path: report.PathOf(name), Kernel: kernelName(k.Version), Rules: len(rules),
		Loads: !finding.Refused(findings), Findings: reported(findings),
	}
	if finding.Wrong(findings) {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}
