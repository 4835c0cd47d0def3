package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
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

type policyCheckReport struct {
	Command  string           `json:"command"`
	jsonPath                  // of the file
	Kernel   string           `json:"kernel"`
	Rules    int              `json:"rules"` // that the kernel takes
	Refused  bool             `json:"refused"`
	Findings []policy.Finding `json:"findings"`
}

func runPolicyCheck(ctx context.Context, a *app, o policyCheckOptions, name string) error {
	kernel, err := o.kernel.kernel(ctx)
	if err != nil {
		return err
	}
	p, err := a.readPolicy(ctx, name)
	if err != nil {
		return err
	}
	kernel.Early = o.early
	rules, _ := kernel.Rules(p)
	report := policyCheckReport{
		Command: "policy check", jsonPath: pathJSON(name), Kernel: kernelName(kernel), Rules: len(rules), Findings: policy.Check(p, kernel),
	}
	if !a.verbose {
		report.Findings = policy.Group(report.Findings)
	}
	report.Refused = policy.Refused(report.Findings)
	if err := a.printPolicyCheck(report); err != nil {
		return err
	}
	if policy.Wrong(report.Findings) {
		return errWrong
	}
	return nil
}

func (a *app) printPolicyCheck(report policyCheckReport) error {
	if a.json {
		if report.Findings == nil {
			report.Findings = []policy.Finding{}
		}
		return a.printJSON(report)
	}
	number := map[policy.Severity]int{}
	for _, f := range report.Findings {
		number[f.Severity]++
	}
	verdict := fmt.Sprintf("takes its %d rules", report.Rules)
	if report.Refused {
		verdict = fmt.Sprintf("refuses it (%d refusals)", number[policy.Refuse])
	}
	return a.printText(findingLines(report.Findings, report.raw) + quote.Sprintf("%s: kernel %s %s; errors: %d, warnings: %d, notes: %d\n",
		printable(report.raw), report.Kernel, verdict, number[policy.Error], number[policy.Warn], number[policy.Note]))
}

func findingLines(findings []policy.Finding, name string) string {
	var b strings.Builder
	for _, f := range findings {
		quote.Fprintf(&b, "%s: %s %s: %s%s\n", place(name, f), f.Severity, f.Rule, printable(f.Detail), inBrackets(f.Also()))
	}
	return b.String()
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// place is where a finding is, as editors understand it.
func place(name string, f policy.Finding) string {
	switch {
	case f.Line == 0:
		return printable(name)
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", printable(name), f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", printable(name), f.Line, f.Column)
}
