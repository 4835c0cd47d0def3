package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/certs"
)

type keyInitOptions struct {
	algorithm, subject string
	with               []string
	days               int
	key                keyFlags // its passphrase source
}

func newKeyInit(a *app) *cobra.Command {
	var o keyInitOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CA, signing keys and their certificates",
		Long: `Init makes a CA and keys that it certifies, under the file names that Yocto layers
expect: system_trusted_key.{key,crt}, whose certificate is compiled into the
kernel, and x509_ima.{key,crt,der}, which signs files. --with adds x509_ima_rpm
(rpm), x509_evm (evm) and x509_secondary (secondary, a second CA).

Private keys are PKCS #8 with mode 0600, encrypted when --key-pass says with what.
Existing files are never overwritten.`,
		Example: `  imasign-build key init keys
  imasign-build key init --algorithm p256 --with rpm,evm --key-pass file:pass --subject "/O=Acme/CN=Router" keys`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyInit(cmd.Context(), a, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.algorithm, "algorithm", certs.Algorithms()[0], strings.Join(certs.Algorithms(), ", "))
	flags.StringSliceVar(&o.with, "with", nil, "more keys: "+strings.Join(certs.Extras(), ", "))
	flags.IntVar(&o.days, "days", certs.DefaultDays, "validity; the kernel looks at no date")
	flags.StringVar(&o.subject, "subject", "", "a `name`, or /C=…/O=…/CN=…")
	flags.StringVar(&o.key.pass, "key-pass", "", "encrypt the private keys with the passphrase from env:NAME, file:PATH or fd:N")
	return cmd
}

type keyInitReport struct {
	Command string        `json:"command"`
	Keys    []keyInitPair `json:"keys"`
}

type keyInitPair struct {
	Name  string   `json:"name"`
	KeyID string   `json:"key_id"`
	Files []string `json:"files"`
}

func runKeyInit(ctx context.Context, a *app, o keyInitOptions, dir string) error {
	options := certs.InitOptions{Algorithm: o.algorithm, With: o.with, Days: o.days}
	var err error
	if o.subject != "" {
		if options.Subject, err = certs.ParseSubject(o.subject); err != nil {
			return usageError{err}
		}
	}
	if o.key.pass != "" {
		secret, err := a.secret(o.key.pass)
		if err != nil {
			return err
		}
		if options.Passphrase, err = secret(ctx, "passphrase for the new keys"); err != nil {
			return err
		}
		defer clear(options.Passphrase)
	}
	pairs, err := certs.Init(ctx, dir, options)
	if errors.Is(err, certs.ErrOption) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	report := keyInitReport{Command: "key init"}
	for _, pair := range pairs {
		report.Keys = append(report.Keys, keyInitPair{pair.Name, keyID(pair.Certificate), pair.Files()})
	}
	if a.json {
		return a.printJSON(report)
	}
	for _, key := range report.Keys {
		fmt.Fprintf(a.out, "%-18s key id %s  %s\n", key.Name, key.KeyID, strings.Join(key.Files, " "))
	}
	return nil
}
