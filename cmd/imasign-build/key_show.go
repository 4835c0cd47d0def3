package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
)

func newKeyShow(a *app) *cobra.Command {
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "show URI|CERT",
		Short: "Show a key's or certificate's algorithm, key id and validity",
		Long: `Show prints what a certificate file, or a private key, is. A key without its
certificate has the key id that evmctl would give it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runKeyShow(cmd.Context(), a, key, args[0]) },
	}
	key.addPass(cmd.Flags())
	return cmd
}

// keyReport is a certificate or a key; what only certificates have is left out of
// a key's.
type keyReport struct {
	Kind         string `json:"kind"` // "certificate" or "private key"
	Algorithm    string `json:"algorithm"`
	KeyID        string `json:"key_id"`
	SubjectKeyID string `json:"subject_key_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	Serial       string `json:"serial,omitempty"`
	NotBefore    string `json:"not_before,omitempty"`
	NotAfter     string `json:"not_after,omitempty"`
	CA           bool   `json:"ca,omitempty"`
	Provider     string `json:"provider,omitempty"`
}

func runKeyShow(ctx context.Context, a *app, flags keyFlags, uri string) error {
	reports, err := describe(ctx, a, flags, uri)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Command string      `json:"command"`
			Keys    []keyReport `json:"keys"`
		}{"key show", reports})
	}
	for _, r := range reports {
		a.printKey(r)
	}
	return nil
}

// describe takes uri for a file of certificates first, and where there are none,
// for a key.
func describe(ctx context.Context, a *app, flags keyFlags, uri string) ([]keyReport, error) {
	guardMemory() // it may be a key
	list, err := certs.Read(ctx, uri)
	if err == nil && flags.pass != "" {
		return nil, usagef("--key-pass has no effect: %s is a certificate", uri)
	}
	if err == nil {
		var reports []keyReport
		for _, cert := range list {
			reports = append(reports, certificateReport(cert))
		}
		return reports, nil
	}
	flags.key = uri
	key, keyErr := flags.open(ctx, a)
	if keyErr != nil {
		if errors.Is(err, certs.ErrNoCertificate) {
			return nil, keyErr
		}
		return nil, fmt.Errorf("neither a certificate nor a key: %w", keyErr)
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	return []keyReport{{Kind: "private key", Algorithm: key.Public.Algorithm(), KeyID: key.Public.ID().String(), Provider: key.Provider}}, nil
}

func certificateReport(cert *x509.Certificate) keyReport {
	algorithm := cert.PublicKeyAlgorithm.String()
	if public, err := ima.CertificateKey(cert); err == nil {
		algorithm = public.Algorithm()
	}
	return keyReport{
		Kind: "certificate", Algorithm: algorithm, KeyID: keyID(cert), SubjectKeyID: fmt.Sprintf("%x", cert.SubjectKeyId),
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Serial: fmt.Sprintf("%x", cert.SerialNumber),
		NotBefore: cert.NotBefore.UTC().Format(time.RFC3339), NotAfter: cert.NotAfter.UTC().Format(time.RFC3339), CA: cert.IsCA,
	}
}

func keyID(cert *x509.Certificate) string {
	id, err := ima.KeyIDFromCertificate(cert)
	if err != nil {
		return "none: " + ima.Reason(err)
	}
	return id.String()
}

func (a *app) printKey(r keyReport) {
	for _, line := range [][2]string{
		{r.Kind, r.Algorithm}, {"key id", r.KeyID}, {"subject key id", r.SubjectKeyID}, {"subject", r.Subject}, {"issuer", r.Issuer},
		{"serial", r.Serial}, {"valid from", r.NotBefore}, {"valid until", r.NotAfter}, {"signs by", r.Provider},
	} {
		if line[1] != "" {
			quote.Fprintf(a.out, "%-15s %s\n", line[0], line[1])
		}
	}
	if r.CA {
		quote.Fprintf(a.out, "%-15s it signs certificates, not files\n", "ca")
	}
}
