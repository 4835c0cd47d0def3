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
		Short: "Check whether the kernel accepts an IMA policy, and find risky rules",
		Long: `Check parses FILE as the kernel does. Where the kernel only says EINVAL, check reports the
line, the column and the reason. It also finds rules that contradict each other, and
risky rules. FILE may be -, for standard input.

  refuse  the kernel refuses the policy
  error   the policy loads, but has no effect, or keeps the device from booting
  warn    probably a mistake
  note    worth knowing

Exit code 3 means that there was a "refuse" or an "error". A finding about many lines is
reported once; -v reports it for each line.

Some findings depend on the configuration of the kernel, which --kernel-config names.
Without it, check reports the dependency. --initramfs checks the policy as the hook of
"initramfs bundle" loads it: as the first policy, as text, and before a security module
has loaded its own policy.`,
		Example: `  imasign-build policy check --kernel 6.12 --kernel-config .config ima_policy`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyCheck(cmd.Context(), a, o, args[0])
		},
	}
	o.kernel.add(cmd.Flags())
	cmd.Flags().BoolVar(&o.early, "initramfs", false, "check the policy as one that an initramfs loads")
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
	for _, line := range p.Lines {
		if len(line.Words) > 0 {
			r.Unknown++
		}
	}
	r.Unknown -= r.Rules
	if finding.Wrong(findings) {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}
