package initramfs_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/pkg/ima"
)

// TestPurposes checks the warnings about keys that are trusted for more than they are for.
func TestPurposes(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t)
	of := func(purpose ima.Purpose, shared bool) *x509.Certificate {
		public := newKey(t).Public()
		if shared {
			public = key.Public()
		}
		cert, err := a.issuer.Signer(public, certs.Request{Subject: pkix.Name{CommonName: "signer"}, Purpose: purpose})
		check(t, err)
		return cert
	}
	const content, sigv3 = "appraise func=BPRM_CHECK appraise_type=imasig\n", "appraise func=BPRM_CHECK appraise_type=sigv3\n"
	old := kernel.Profile{Version: kernel.Version{Major: 7, Minor: 0}}
	for name, c := range map[string]struct {
		inIMA, inEVM []*x509.Certificate
		policy       string
		demanded     bool // of EVM
		kernel       kernel.Profile
		warnings     int
		err          error
	}{
		"version 2":                       {inIMA: []*x509.Certificate{of(ima.ForV2, false)}, policy: content},
		"version 2 under sigv3":           {inIMA: []*x509.Certificate{of(ima.ForV2, false)}, policy: sigv3, warnings: 1},
		"unstated under sigv3":            {inIMA: []*x509.Certificate{of(ima.ForV3, false), of(ima.Unstated, false)}, policy: sigv3, warnings: 1},
		"version 3 under sigv3":           {inIMA: []*x509.Certificate{of(ima.ForV3, false)}, policy: sigv3},
		"two purposes":                    {inIMA: []*x509.Certificate{of(ima.ForV2, true), of(ima.ForV3, true)}, policy: content, warnings: 1},
		"version 2 of EVM demanded":       {inIMA: []*x509.Certificate{of(ima.ForV2, false)}, inEVM: []*x509.Certificate{of(ima.ForEVM, false)}, policy: content, demanded: true, warnings: 1},
		"version 3 of EVM demanded":       {inIMA: []*x509.Certificate{of(ima.ForV2, false)}, inEVM: []*x509.Certificate{of(ima.ForV3, false)}, policy: content, demanded: true},
		"version 3 in both keyrings":      {inIMA: []*x509.Certificate{of(ima.ForV3, true)}, inEVM: []*x509.Certificate{of(ima.ForV3, true)}, policy: sigv3, demanded: true, err: initramfs.ErrUseless},
		"versions 2 and 3 in both":        {inIMA: []*x509.Certificate{of(ima.ForV2, true)}, inEVM: []*x509.Certificate{of(ima.ForV3, true)}, policy: content, err: initramfs.ErrUseless},
		"version 2 in both":               {inIMA: []*x509.Certificate{of(ima.Unstated, true)}, inEVM: []*x509.Certificate{of(ima.Unstated, true)}, policy: content, err: initramfs.ErrUseless},
		"demanded of EVM, without EVM":    {inIMA: []*x509.Certificate{of(ima.ForV3, false)}, policy: content, demanded: true, err: initramfs.ErrOption},
		"demanded of EVM on an older one": {inIMA: []*x509.Certificate{of(ima.ForV3, false)}, inEVM: []*x509.Certificate{of(ima.ForV3, false)}, policy: content, demanded: true, kernel: old, err: initramfs.ErrRefused},
	} {
		o := initramfs.Options{
			Hook: initramfs.Framework, EVMVersion3: c.demanded, Kernel: c.kernel, Policy: &initramfs.Input{Name: "mine", Data: []byte(c.policy)},
		}
		for i, cert := range c.inIMA {
			o.Certificates = append(o.Certificates, der(fmt.Sprintf("ima%d.der", i), cert))
		}
		for i, cert := range c.inEVM {
			o.EVM = append(o.EVM, der(fmt.Sprintf("evm%d.der", i), cert))
		}
		b, err := initramfs.New(o)
		if !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: error %v, want %v", name, err, c.err)
		}
		if err != nil {
			continue
		}
		got := 0
		for _, f := range b.Findings {
			if f.Rule == certs.RulePurpose {
				got++
			}
		}
		if got != c.warnings {
			t.Errorf("%s: %d warnings, want %d: %v", name, got, c.warnings, b.Findings)
		}
		hook := b.Files[slices.IndexFunc(b.Files, func(f initramfs.File) bool { return f.Path == "init.d/95-imasign" })]
		if line := fmt.Sprintf("\nIMASIGN_EVM_V3=%s\n", map[bool]string{true: "yes", false: "no"}[c.demanded]); !strings.Contains(string(hook.Data), line) {
			t.Errorf("%s: the hook has no line %q", name, line)
		}
	}
}

// TestMLDSA checks that a kernel without ML-DSA gets no bundle for ML-DSA keys.
func TestMLDSA(t *testing.T) {
	a := newAuthority(t)
	key, err := certs.GenerateKey("mldsa44")
	check(t, err)
	cert, err := a.issuer.Signer(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "signer"}})
	check(t, err)
	for _, c := range []struct {
		kernel kernel.Profile
		says   string // "" if the bundle is made
	}{
		{kernel.Profile{Version: kernel.Version{Major: 7, Minor: 1}}, "has mldsa44 since 7.2"},
		{kernel.Profile{Config: config(t, "ARM64")}, "ml-dsa: CONFIG_CRYPTO_MLDSA is not set"},
		{kernel.Profile{Config: config(t, "ARM64", "CRYPTO_MLDSA")}, ""},
		{kernel.Profile{}, ""},
	} {
		_, err := initramfs.New(initramfs.Options{Hook: initramfs.Framework, Kernel: c.kernel, Certificates: []initramfs.Input{der("ima.der", cert)}})
		if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, initramfs.ErrRefused) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v", c.says, err)
		}
	}
}
