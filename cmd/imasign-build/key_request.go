package main

import (
	"context"
	"encoding/pem"
	"errors"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
)

type keyRequestOptions struct {
	key             keyFlags
	subject, output string
	stated          statedFlags
}

func newKeyRequest(a *app) *cobra.Command {
	var o keyRequestOptions
	cmd := &cobra.Command{
		Use:   "request URI",
		Short: "Write a certificate request for a key, for a CA elsewhere",
		Long: `Request writes a certificate request (PKCS #10, in PEM) for a private key in a file or
device. In a directory, that is x509_ima.key.

It asks the CA for what the kernel needs: keyUsage digitalSignature and a subject key
identifier. --for also asks it to state what the key is for. A CA that issues no extended
key usages of others may take --for-in extension. "key check" tells whether the CA has
done all this.

If a device, a directory or the file of the key has its certificate, the request asks for
the same subject key identifier, with which signatures stay valid, and for the same purpose,
unless --for names another one.`,
		Example: `  imasign-build key request --subject "/O=Acme/CN=Router IMA signing" --for v3 \
      -o router.csr keys/x509_ima.key
  openssl x509 -req -in router.csr -CA ca.crt -CAkey ca.key -copy_extensions copyall \
      -days 3650 -out keys/x509_ima.crt
  imasign-build key check --ca ca.crt keys/x509_ima.crt`,
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyRequest(cmd.Context(), a, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.subject, "subject", "", "subject of the certificate: a common `NAME`, or /C=…/O=…/CN=…")
	flags.StringVarP(&o.output, "output", "o", "-", "write the request to `OUT`, or to standard output with -")
	o.stated.add(flags, "ask the CA to state what the key is for")
	o.key.addPass(flags, "the key")
	once(flags, "subject", "output")
	return cmd
}

func runKeyRequest(ctx context.Context, a *app, o keyRequestOptions, uri string) error {
	guardMemory()
	switch {
	case o.subject == "":
		return usagef("no subject was given: --subject NAME")
	case o.output == "-" && a.json:
		return usagef("--json and the request would both go to standard output: write the request to a file with -o OUT")
	}
	subject, err := certs.ParseSubject(o.subject)
	if err != nil {
		return usagef("--subject: %s", invalidOption(err))
	}
	request := certs.Request{Subject: subject, Purpose: o.stated.stated(), InExtension: o.stated.in == inExtension}
	public, der, err := o.request(ctx, a, uri, request)
	if errors.Is(err, certs.ErrOption) {
		return usagef("--for %s: %s", o.stated.purpose, invalidOption(err))
	}
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if o.output == "-" {
		return a.printFile(text)
	}
	if err := atomicfile.WriteFile(o.output, text, 0o644); err != nil {
		return err
	}
	return a.print(&report.Request{
		Head: report.Head{Command: "key request"}, Path: report.PathOf(o.output), Algorithm: public.Algorithm(), KeyID: public.ID().String(),
	}, nil)
}

// request opens the key and returns it with its request.
func (o *keyRequestOptions) request(ctx context.Context, a *app, uri string, r certs.Request) (*ima.PublicKey, []byte, error) {
	o.key.key = uri
	if dir := directoryOf(uri); dir != nil {
		var err error
		if o.key.key, err = dir.key(fileSigner); err != nil {
			return nil, nil, err
		}
		o.key.cert, _ = certificateIn(dir.path, fileSigner) // none is needed
	}
	key, err := o.key.open(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	var skid []byte
	if cert := key.Public.Certificate(); cert != nil {
		skid, r.Purpose = cert.SubjectKeyId, keptPurpose(a, key.Public, r.Purpose)
	}
	der, err := certs.NewRequest(key.CryptoSigner(ctx), r, skid)
	return key.Public, der, err
}

// keptPurpose returns what the request states that the key is for: stated, or else what the
// key's certificate states.
func keptPurpose(a *app, key *ima.PublicKey, stated ima.Purpose) ima.Purpose {
	now := key.Purpose()
	if stated == ima.Unstated {
		return now
	}
	if now != ima.Unstated && now != stated {
		a.note("warning: the certificate of key %s says that it is for %s, the request for %s: a key should make one kind of signature", key.ID(), now, stated)
	}
	return stated
}
