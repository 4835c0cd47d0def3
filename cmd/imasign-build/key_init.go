package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
)

type keyInitOptions struct {
	algorithm, subject string
	with               []string
	days               int
	key                keyFlags // its passphrase source
	onlyCA             bool
	name               string   // of a further set
	on                 string   // where keys are made
	ca                 keyFlags // that certifies them
}

func newKeyInit(a *app) *cobra.Command {
	o := keyInitOptions{ca: keyFlags{name: systemCA}}
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CA, signing keys and their certificates",
		Long: `Init makes a CA and keys that it certifies, under the file names that Yocto layers
expect: system_trusted_key.{key,crt}, whose certificate is compiled into the
kernel, and x509_ima.{key,crt,der}, which signs files. --with adds x509_ima_rpm
(rpm), x509_evm (evm) and x509_secondary (secondary, a second CA).

Private keys are PKCS #8 with mode 0600, encrypted when --key-pass says with what.
Existing files are never overwritten.

--name adds a set of keys to the same directory or token, named x509_ima_NAME and so on,
and certifies it with the CA that is already there.

With --on they are made in a PKCS#11 token, under the same names, or in a TPM, whose
wrapped keys are the key files then; they cannot be taken out. --key-pass is the
token's PIN, or the authorization value for the TPM's new keys. With --ca-key, a
file or in a device of its own, no CA is made, and that one certifies the keys.`,
		Example: `  imasign-build key init keys
  imasign-build key init --algorithm p256 --with rpm,evm --key-pass file:pass --subject "/O=Acme/CN=Router" keys
  imasign-build key init --name 2027 keys
  imasign-build key init --on 'pkcs11:token=build?module-path=/usr/lib/softhsm/libsofthsm2.so' --key-pass file:pin --ca-key safe/system_trusted_key.key --ca safe/system_trusted_key.crt keys`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyInit(cmd.Context(), a, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.algorithm, "algorithm", certs.Algorithms()[0], strings.Join(certs.Algorithms(), ", "))
	flags.StringSliceVar(&o.with, "with", nil, "more keys: "+strings.Join(certs.Extras(), ", "))
	flags.StringVar(&o.name, "name", "", "add a set of keys named x509_ima_`NAME` and so on, certified by the CA in DIR or by --ca-key")
	flags.IntVar(&o.days, "days", certs.DefaultDays, "validity; the kernel looks at no date")
	flags.StringVar(&o.subject, "subject", "", "a `name`, or /C=…/O=…/CN=…")
	flags.StringVar(&o.key.pass, "key-pass", "", "encrypt the private keys with the passphrase from this `source`: env:NAME, file:PATH or fd:N; with --on it is the PIN, or the new authorization value")
	flags.StringVar(&o.on, "on", "", "make the keys in the token or TPM that this `URI` names")
	flags.BoolVar(&o.onlyCA, "only-ca", false, "make the CA alone, to keep it elsewhere than the keys that it certifies")
	flags.StringVar(&o.ca.key, "ca-key", "", "make no CA: this key certifies, a `path` or URI; a directory stands for its system_trusted_key.key and system_trusted_key.crt")
	flags.StringVar(&o.ca.cert, "ca", "", "its certificate, a PEM or DER `file`")
	flags.StringVar(&o.ca.pass, "ca-pass", "", "`source` of the passphrase or PIN of --ca-key")
	once(flags, "key-pass", "on", "ca-key", "ca", "ca-pass")
	return cmd
}

// check refuses what certs.Init would refuse, and names the flag.
func (o *keyInitOptions) check(dir string) error {
	if !slices.Contains(certs.Algorithms(), o.algorithm) {
		return usagef("--algorithm %s: there are: %s", quote.Name(o.algorithm), strings.Join(certs.Algorithms(), ", "))
	}
	for _, name := range o.with {
		if !slices.Contains(certs.Extras(), name) {
			return usagef("--with %s: there are: %s", quote.Name(name), strings.Join(certs.Extras(), ", "))
		}
	}
	switch {
	case o.days < 0:
		return usagef("--days %d: at least 1", o.days)
	case o.name != "" && o.ca.key == "":
		return usagef("--name %s: there is no CA in %s: name its key and certificate with --ca-key and --ca", quote.Name(o.name), quote.Name(dir))
	}
	return nil
}

// option is the text of an error about an option of certs.Init.
func option(err error) string {
	text := strings.TrimPrefix(err.Error(), certs.ErrOption.Error()+": ")
	return strings.TrimPrefix(text, "subject: ")
}

// caOf takes the CA in dir for a further set, unless another was named.
func (o *keyInitOptions) caOf(dir string) {
	key := filepath.Join(dir, "system_trusted_key.key")
	if _, err := os.Stat(key); err != nil || o.name == "" || o.ca.key != "" {
		return
	}
	o.ca.key = key
	if o.ca.cert == "" {
		o.ca.cert = filepath.Join(dir, "system_trusted_key.crt")
	}
}

func runKeyInit(ctx context.Context, a *app, o keyInitOptions, dir string) error {
	guardMemory()
	o.caOf(dir)
	if err := o.check(dir); err != nil {
		return err
	}
	options := certs.InitOptions{Algorithm: o.algorithm, With: o.with, Days: o.days, OnlyCA: o.onlyCA, Name: o.name}
	var err error
	if o.subject != "" {
		if options.Subject, err = certs.ParseSubject(o.subject); err != nil {
			return usagef("--subject: %s", option(err))
		}
	}
	if o.on == "" && o.key.pass != "" {
		secret, err := a.secret("--key-pass", o.key.pass)
		if err != nil {
			return err
		}
		passphrase, err := secret(ctx, "passphrase for the new keys")
		if err != nil {
			return err
		}
		defer clear(passphrase)
		options.Encrypt = func(ctx context.Context, der []byte) ([]byte, error) { return file.Encrypt(ctx, der, passphrase) }
	}
	devices, err := o.devices(ctx, a, &options, dir)
	if err != nil {
		return err
	}
	defer devices.close()
	pairs, err := certs.Init(ctx, dir, options)
	if errors.Is(err, certs.ErrOption) || errors.Is(err, pkcs11.ErrURI) || errors.Is(err, tpm.ErrURI) {
		return usagef("%s", option(err))
	}
	if err != nil {
		return err
	}
	r := &report.NewKeys{Head: report.Head{Command: "key init"}}
	for _, pair := range pairs {
		r.Keys = append(r.Keys, report.NewKey{Name: pair.Name, KeyID: keyID(pair.Certificate), URI: devices.uris[pair.Name], Files: pair.Files()})
	}
	return a.print(r, nil)
}
