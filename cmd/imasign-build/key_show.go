package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
)

func newKeyShow(a *app) *cobra.Command {
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "show URI|CERT",
		Short: "Show the algorithm, key id and validity of keys and certificates",
		Long: `Show describes the certificates in a file, or a private key in a file or device. In a
directory, it describes x509_ima.crt. For a private key without its certificate, show
prints the key id that evmctl computes.`,
		Example: `  imasign-build key show keys/x509_ima.crt
  imasign-build key show --key-pass file:pass keys/x509_ima.key`,
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyShow(cmd.Context(), a, key, args[0]) },
	}
	key.addPass(cmd.Flags(), "a private key")
	return cmd
}

func runKeyShow(ctx context.Context, a *app, flags keyFlags, uri string) error {
	keys, err := describeKeys(ctx, a, flags, uri)
	if err != nil {
		return err
	}
	return a.print(&report.Keys{Head: report.Head{Command: "key show"}, Keys: keys}, nil)
}

// describeKeys returns the certificates in a file or directory. If there are none, it opens
// uri as a key.
func describeKeys(ctx context.Context, a *app, flags keyFlags, uri string) ([]report.Key, error) {
	guardMemory() // it may be a key
	list, file, err := readCertificates(ctx, uri, fileSigner)
	if err == nil && flags.pass != "" {
		return nil, usagef("--key-pass has no effect: %s is a certificate", file)
	}
	if err == nil {
		var keys []report.Key
		for _, cert := range list {
			keys = append(keys, certificateKey(cert))
		}
		return keys, nil
	}
	flags.key = uri
	key, keyErr := flags.open(ctx, a)
	if keyErr != nil {
		if errors.Is(err, certs.ErrNoCertificate) || errors.Is(keyErr, fs.ErrNotExist) || isDirectory(uri) {
			return nil, keyErr
		}
		return nil, fmt.Errorf("neither a certificate nor a key: %w", keyErr)
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	shown := report.Key{Kind: "private key", Algorithm: key.Public.Algorithm(), KeyID: key.Public.ID().String(), Provider: key.Provider}
	if cert := key.Public.Certificate(); cert != nil && !cert.IsCA {
		shown.Purpose = purposeWord(key.Public.Purpose())
	}
	return []report.Key{shown}, nil
}

func certificateKey(cert *x509.Certificate) report.Key {
	algorithm, purpose := cert.PublicKeyAlgorithm.String(), ""
	if public, err := ima.CertificateKey(cert); err == nil {
		algorithm = public.Algorithm()
		purpose = purposeWord(public.Purpose())
	} else if errors.Is(err, ima.ErrPurpose) {
		purpose = report.SeveralPurposes
	}
	if cert.IsCA {
		purpose = ""
	}
	return report.Key{
		Kind: "certificate", Algorithm: algorithm, KeyID: keyID(cert), SubjectKeyID: fmt.Sprintf("%x", cert.SubjectKeyId),
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Serial: fmt.Sprintf("%x", cert.SerialNumber),
		NotBefore: cert.NotBefore.UTC().Format(time.RFC3339), NotAfter: cert.NotAfter.UTC().Format(time.RFC3339), CA: cert.IsCA,
		Purpose: purpose,
	}
}

func keyID(cert *x509.Certificate) string {
	id, err := ima.KeyIDFromCertificate(cert)
	if err != nil {
		return "none: " + ima.Reason(err)
	}
	return id.String()
}
