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
	caAlgorithm        string
	stated             statedFlags
	with               []string
	days               int
	key                keyFlags // only the source of the passphrase
	onlyCA             bool
	name               string   // of an additional set
	on                 string   // URI of the device that makes the keys
	ca                 keyFlags // the CA that certifies them
}

func newKeyInit(a *app) *cobra.Command {
	o := keyInitOptions{ca: keyFlags{name: systemCA}}
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CA, signing keys and their certificates",
		Long: `Init makes a CA and keys that the CA certifies. The files in DIR have the names that
Yocto layers expect:

  system_trusted_key.{key,crt}  the CA; its certificate is compiled into the kernel
  x509_ima.{key,crt,der}        signs files
  x509_ima_rpm.{key,crt,der}    signs files in packages (--with rpm)
  x509_evm.{key,crt,der}        signs file metadata for EVM (--with evm)
  x509_secondary.{key,crt,der}  a second CA (--with secondary)

Private keys are PKCS #8 files with mode 0600. --key-pass encrypts them. Existing files
are never overwritten.

--name adds a set of keys to a directory or token: x509_ima_NAME and so on. The CA that
is already there certifies them.

--on makes the keys in a PKCS#11 token, under the same names, or in a TPM. They cannot be
taken out of the device. The key files of a TPM contain keys that only this TPM can use.
With --on, --key-pass gives the PIN of the token, or an authorization value for the new
keys of the TPM.

With --ca-key no CA is made. The key that it names, in a file or a device, certifies the
new keys.

ML-DSA keys (FIPS 204) make version 3 signatures, for Linux 7.2 and later. CAs and signing
keys may differ: --ca-algorithm rsa4096 --algorithm mldsa65.

A key should make one kind of signature. --for v3 states in the certificates that the keys
make version 3 signatures, --for v2 that x509_ima makes version 2 signatures and x509_evm
those in security.evm, --for evm only the latter. This program refuses other signatures by
these keys; the kernel ignores purposes. A key without one makes version 2 signatures.`,
		Example: `  imasign-build key init keys
  imasign-build key init --algorithm p256 --with rpm,evm --key-pass file:pass \
      --subject "/O=Acme/CN=Router" keys
  imasign-build key init --name 2027 keys
  imasign-build key init --key-pass file:pin --on 'pkcs11:token=T?module-path=/M.so' \
      --ca-key safe/system_trusted_key.key --ca safe/system_trusted_key.crt keys`,
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyInit(cmd.Context(), a, o, args[0]) },
	}
	flags := cmd.Flags()
	choiceVar(flags, &o.algorithm, "algorithm", certs.Algorithms()[0], "algorithm of the new keys", words(certs.Algorithms()...))
	choiceVar(flags, &o.caAlgorithm, "ca-algorithm", "", "algorithm of the new CAs", words(certs.Algorithms()...))
	annotate(flags, "ca-algorithm", noteDefault, "that of --algorithm")
	o.stated.add(flags, "state in the certificates what the keys are for")
	choicesVar(flags, &o.with, "with", "also make these keys", words(certs.Extras()...))
	flags.StringVar(&o.name, "name", "", "add keys called x509_ima_`NAME` and so on")
	flags.IntVar(&o.days, "days", certs.DefaultDays, "make certificates that are valid for `N` days; the kernel ignores the dates")
	flags.StringVar(&o.subject, "subject", "", "subject of the certificates: a common `NAME`, or /C=…/O=…/CN=…")
	flags.StringVar(&o.key.pass, "key-pass", "", "encrypt the keys with the passphrase from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME; with --on, the PIN or authorization value")
	flags.StringVar(&o.on, "on", "", "make the keys in the token or TPM that `URI` names")
	flags.BoolVar(&o.onlyCA, "only-ca", false, "make only the CA, to keep it apart from the keys that it certifies")
	flags.StringVar(&o.ca.key, "ca-key", "", "make no CA, but certify with the key `URI`: a file, a directory with system_trusted_key.key, or a file:, pkcs11: or tpm2: URI")
	flags.StringVar(&o.ca.cert, "ca", "", "certificate of --ca-key in `FILE`, PEM or DER")
	flags.StringVar(&o.ca.pass, "ca-pass", "", "read the passphrase or PIN of --ca-key from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME")
	annotate(flags, "ca-pass", noteDefault, "ask on the terminal")
	once(flags, "key-pass", "on", "ca-key", "ca", "ca-pass")
	return cmd
}

// check refuses what certs.Init would refuse, and names the flag.
func (o *keyInitOptions) check(dir string) error {
	switch {
	case o.days < 1: // certs.Init takes 0 for its default
		return usagef("--days %d: must be at least 1", o.days)
	case o.caAlgorithm != "" && o.ca.key != "" && !slices.Contains(o.with, "secondary"):
		return usagef("--ca-algorithm has no effect: no CA is made")
	case o.stated.purpose != "" && o.stated.purpose != "v3" && strings.HasPrefix(o.algorithm, "mldsa"):
		return usagef("--for %s: %s makes only version 3 signatures", o.stated.purpose, o.algorithm)
	case o.stated.purpose == "evm" && !slices.Contains(o.with, "evm"):
		return usagef("--for evm is about x509_evm: add --with evm")
	case o.name != "" && o.ca.key == "":
		return usagef("--name %s: there is no CA in %s: name its key and certificate with --ca-key and --ca", quote.Name(o.name), quote.Name(dir))
	}
	return nil
}

// invalidOption returns the text of an error about an option of certs.Init.
func invalidOption(err error) string {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "name "); found {
		return "--name " + name
	}
	return strings.TrimPrefix(text, "subject: ")
}

// caOf chooses the CA in dir for an additional set, unless --ca-key names another one.
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
	options := certs.InitOptions{Algorithm: o.algorithm, CAAlgorithm: o.caAlgorithm, With: o.with, Days: o.days, OnlyCA: o.onlyCA, Name: o.name,
		Purpose: o.stated.stated(), InExtension: o.stated.in == inExtension}
	var err error
	if o.subject != "" {
		if options.Subject, err = certs.ParseSubject(o.subject); err != nil {
			return usagef("--subject: %s", invalidOption(err))
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
		return usagef("%s", invalidOption(err))
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
