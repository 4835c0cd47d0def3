package main

import (
	"context"
	"crypto/x509"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
)

type keyCheckOptions struct {
	cas     []string
	kernel  kernelFlags
	keyring string
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
secondary keyring has any CA, so the issuer must be compiled into the kernel.

The certificates in CERT are taken to be in one keyring. Check warns if keys for version 2
and version 3 signatures meet there. Algorithms that a kernel may lack are a note, unless
--kernel-config names its configuration.`,
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
	o.kernel.add(cmd.Flags())
	return cmd
}

// The keyrings that certificates are checked for.
const (
	imaKeyring = ".ima"
	evmKeyring = ".evm"
)

func runKeyCheck(ctx context.Context, a *app, o keyCheckOptions, file string) error {
	if err := onlyCertificates(file); err != nil {
		return err
	}
	k, err := o.kernel.kernel(ctx)
	if err != nil {
		return err
	}
	pair, check, purposes := fileSigner, certs.Check, certs.CheckPurposes
	if o.keyring == evmKeyring {
		pair, check = evmSigner, certs.CheckEVM
		purposes = func(list, _ []*x509.Certificate) []finding.Finding { return certs.CheckPurposes(nil, list) }
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
	r := &report.KeyCheck{Head: report.Head{Command: "key check"}, Kernel: kernelName(k.Version), Keyring: o.keyring, Of: file}
	add := func(number int, findings []finding.Finding) {
		for _, f := range reported(findings) {
			r.Add(number, f)
		}
	}
	add(0, certs.CheckShared(list))
	add(0, purposes(list, nil))
	add(0, mixedVersions(list))
	for i, cert := range list {
		number := i + 1
		if len(list) == 1 {
			number = 0
		}
		add(number, certs.Configured(check(cert, cas, k.Version), cert, k.Config))
	}
	if r.Refused() {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}

// onlyCertificates refuses the URI of a key in a device or service, whose certificate is elsewhere.
func onlyCertificates(file string) error {
	scheme, _, found := strings.Cut(file, ":")
	switch scheme = strings.ToLower(scheme); {
	case !found || exists(file):
		return nil
	case scheme == "https", scheme == "pkcs11", scheme == "tpm2":
		return usagef("key check takes a file with a certificate, and this is the URI of a key: `key show` describes the key")
	}
	return nil
}

// mixedVersions returns warnings about keys for version 2 beside keys for version 3, because
// whoever makes the latter is about to demand version 3.
func mixedVersions(list []*x509.Certificate) []finding.Finding {
	if findings := certs.CheckVersion3(list); len(findings) < len(list) {
		return findings
	}
	return nil
}
