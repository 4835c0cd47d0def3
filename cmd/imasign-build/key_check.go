package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/quote"
)

type keyCheckOptions struct {
	cas    []string
	kernel string
}

func newKeyCheck(a *app) *cobra.Command {
	var o keyCheckOptions
	cmd := &cobra.Command{
		Use:   "check CERT",
		Short: "Say what the kernel would refuse of a certificate",
		Long: `Check holds a certificate against the rules of a kernel version, one line a rule:
"refuse" where that kernel will not take it, or nothing that is signed with it;
"warn" and "note" for what is worth knowing. Exit code 3 means a refusal.

With --ca, the CAs that are compiled into the kernel, the issuer is checked too.`,
		Example: `  imasign-build key check --ca keys/system_trusted_key.crt --kernel 6.12 keys/x509_ima.crt`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return runKeyCheck(cmd.Context(), a, o, args[0]) },
	}
	cmd.Flags().StringArrayVar(&o.cas, "ca", nil, "a CA of the kernel, a PEM or DER `file`; may be repeated")
	cmd.Flags().StringVar(&o.kernel, "kernel", "", "kernel `version`, such as 6.1 (default: the newest known, "+certs.Kernel{}.String()+")")
	return cmd
}

type keyCheckReport struct {
	Command  string               `json:"command"`
	Kernel   string               `json:"kernel"`
	Findings []certificateFinding `json:"findings"`
}

// certificateFinding is about the certificates of a file that have these numbers, from
// 1; about the only one, or about all together, without.
type certificateFinding struct {
	certs.Finding
	Certificates []int `json:"certificates,omitempty"`
}

func (r *keyCheckReport) refused() bool {
	return slices.ContainsFunc(r.Findings, func(f certificateFinding) bool { return f.Severity == certs.Refuse })
}

// add takes the findings about a certificate; what was said of an earlier one is said of
// this one, too.
func (r *keyCheckReport) add(number int, findings []certs.Finding) {
	for _, found := range findings {
		i := slices.IndexFunc(r.Findings, func(f certificateFinding) bool { return f.Finding == found && f.Certificates != nil })
		if number > 0 && i >= 0 {
			r.Findings[i].Certificates = append(r.Findings[i].Certificates, number)
			continue
		}
		f := certificateFinding{Finding: found}
		if number > 0 {
			f.Certificates = []int{number}
		}
		r.Findings = append(r.Findings, f)
	}
}

func runKeyCheck(ctx context.Context, a *app, o keyCheckOptions, file string) error {
	var kernel certs.Kernel
	var err error
	if o.kernel != "" {
		if kernel, err = certs.ParseKernel(o.kernel); err != nil {
			return usageError{fmt.Errorf("--kernel: %w", err)}
		}
	}
	list, err := certs.Read(ctx, file)
	if err != nil {
		return err
	}
	var cas []*x509.Certificate
	for _, ca := range o.cas {
		more, err := certs.Read(ctx, ca)
		if err != nil {
			return err
		}
		cas = append(cas, more...)
	}
	report := keyCheckReport{Command: "key check", Kernel: kernel.String(), Findings: []certificateFinding{}}
	report.add(0, certs.CheckShared(list))
	for i, cert := range list {
		number := i + 1
		if len(list) == 1 {
			number = 0
		}
		report.add(number, certs.Check(cert, cas, kernel))
	}
	if err := a.printFindings(report, file); err != nil {
		return err
	}
	if report.refused() {
		return errWrong
	}
	return nil
}

// which names a finding's certificates, the first of many.
func (f certificateFinding) which() string {
	const most = 12
	var numbers []string
	for _, n := range f.Certificates[:min(most, len(f.Certificates))] {
		numbers = append(numbers, strconv.Itoa(n))
	}
	text := strings.Join(numbers, ", ")
	switch more := len(f.Certificates) - most; {
	case text == "":
		return ""
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(f.Certificates) == 1 {
		return "certificate " + text
	}
	return "certificates " + text
}

func (a *app) printFindings(report keyCheckReport, file string) error {
	if a.json {
		return a.printJSON(report)
	}
	for _, f := range report.Findings {
		quote.Fprintf(a.out, "%-6s %s: %s%s\n", f.Severity, f.Rule, f.Detail, inBrackets(f.which()))
	}
	verdict := "takes"
	if report.refused() {
		verdict = "refuses"
	}
	quote.Fprintf(a.out, "%s: kernel %s %s it\n", file, report.Kernel, verdict)
	return nil
}
