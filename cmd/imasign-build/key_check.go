package main

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

type keyCheckOptions struct {
	cas             []string
	kernel, keyring string
}

func newKeyCheck(a *app) *cobra.Command {
	var o keyCheckOptions
	cmd := &cobra.Command{
		Use:   "check CERT",
		Short: "Check whether the kernel accepts a certificate",
		Long: `Check compares the certificates in a file with the rules of a kernel version. It prints
a line for each finding:

  refuse  the kernel refuses the certificate, or every signature made with its key
  warn    probably a mistake
  note    worth knowing

With --ca, which names the CAs that are compiled into the kernel, the issuer is checked
too. Exit code 3 means that the kernel refuses a certificate.

--keyring .evm checks a certificate for security.evm. The kernel loads it before its
secondary keyring has any CA, so the issuer must be compiled into the kernel.`,
		Example: `  imasign-build key check --ca keys/system_trusted_key.crt --kernel 6.12 \
      keys/x509_ima.crt
  imasign-build key check --keyring .evm --ca keys/system_trusted_key.crt \
      keys/x509_evm.crt`,
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyCheck(cmd.Context(), a, o, args[0]) },
	}
	cmd.Flags().StringArrayVar(&o.cas, "ca", nil, "check issuers with the kernel's CAs in `FILE`, PEM or DER")
	choiceVar(cmd.Flags(), &o.keyring, "keyring", imaKeyring, "the keyring that the certificate is for", []option{
		{imaKeyring, "security.ima"}, {evmKeyring, "security.evm"},
	})
	kernelVar(cmd.Flags(), &o.kernel)
	return cmd
}

// The keyrings that certificates are checked for.
const (
	imaKeyring = ".ima"
	evmKeyring = ".evm"
)

func runKeyCheck(ctx context.Context, a *app, o keyCheckOptions, file string) error {
	var version kernel.Version
	var err error
	if o.kernel != "" {
		if version, err = kernel.ParseVersion(o.kernel); err != nil {
			return usageError{fmt.Errorf("--kernel: %w", err)}
		}
	}
	pair, check := fileSigner, certs.Check
	if o.keyring == evmKeyring {
		pair, check = evmSigner, certs.CheckEVM
	}
	list, file, err := readCertificates(ctx, file, pair)
	if err != nil {
		return err
	}
	var cas []*x509.Certificate
	for _, ca := range o.cas {
		more, _, err := readCertificates(ctx, ca, systemCA)
		if err != nil {
			return err
		}
		cas = append(cas, more...)
	}
	r := &report.KeyCheck{Head: report.Head{Command: "key check"}, Kernel: kernelName(version), Keyring: o.keyring, Of: file}
	add := func(number int, findings []finding.Finding) {
		for _, f := range reported(findings) {
			r.Add(number, f)
		}
	}
	add(0, certs.CheckShared(list))
	for i, cert := range list {
		number := i + 1
		if len(list) == 1 {
			number = 0
		}
		add(number, check(cert, cas, version))
	}
	if r.Refused() {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}
