package initramfs

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
)

// entry is a certificate with its place.
type entry struct {
	input string // the Input's name
	file  string // in /etc/keys
	cert  *x509.Certificate
}

func (b *builder) certificates() error {
	trusted, err := named("x509_ima", b.options.Certificates)
	if err != nil {
		return err
	}
	secondary, err := named("x509_secondary", b.options.Secondary)
	if err != nil {
		return err
	}
	revoked, err := named("x509_revoked", b.options.Revoked)
	if err != nil {
		return err
	}
	evm, err := named("x509_evm", b.options.EVM)
	if err != nil {
		return err
	}
	b.note(b.options.Certificates[0].Name, certs.CheckShared(certificatesOf(trusted))...)
	b.keyctl(slices.Concat(b.byHook(trusted, "CONFIG_IMA_LOAD_X509"), b.byHook(evm, "CONFIG_EVM_LOAD_X509"), secondary, revoked))
	b.inIMA, b.inEVM = certificatesOf(trusted), certificatesOf(evm)
	if err := b.judge(trusted, secondary, revoked, evm); err != nil {
		return err
	}
	for _, e := range slices.Concat(trusted, secondary, revoked, evm) {
		if err := b.add(b.prefix+"etc/keys/"+e.file, 0o644, e.cert.Raw, e.input); err != nil {
			return err
		}
	}
	return nil
}

// byHook returns the certificates that the hook must load. The kernel itself loads the first
// one if symbol is set.
func (b *builder) byHook(entries []entry, symbol string) []entry {
	if c := b.options.Kernel.Config; len(entries) == 0 || c != nil && c.Value(symbol) != "y" {
		return entries
	}
	return entries[1:]
}

// keyctl warns that the hook needs keyctl to load these certificates, and that the bundle
// does not contain it. With dracut, module-setup.sh installs keyctl.
func (b *builder) keyctl(entries []entry) {
	for _, e := range entries {
		if b.options.Hook != Dracut {
			b.note(e.input, finding.New("keyctl", finding.Warn, "the hook loads it with keyctl, and stops without keyctl: add keyctl to the initramfs"))
		}
	}
}

// judge checks the certificates by the rules of their keyrings. Every secondary CA is known
// before the certificates that it may have issued.
func (b *builder) judge(trusted, secondary, revoked, evm []entry) error {
	o := &b.options
	for _, e := range revoked {
		if err := b.refuse(e, certs.CheckRevoked(e.cert, o.CAs, o.Kernel.Version)); err != nil {
			return err
		}
		if err := stillTrusted(e, trusted); err != nil {
			return err
		}
	}
	for _, e := range evm { // .evm accepts no certificates issued by secondary CAs
		if err := b.refuse(e, certs.CheckEVM(e.cert, o.CAs, o.Kernel.Version)); err != nil {
			return err
		}
		if err := forOnePurpose(e, trusted); err != nil {
			return err
		}
	}
	known := slices.Clone(o.CAs)
	inOrder := slices.SortedFunc(slices.Values(secondary), func(x, y entry) int { return strings.Compare(x.file, y.file) })
	for _, e := range inOrder {
		if err := b.refuse(e, certs.CheckSecondaryCA(e.cert, known, o.Kernel.Version)); err != nil {
			return err
		}
		if len(o.CAs) > 0 { // otherwise issuers are not checked
			known = append(known, e.cert)
		}
	}
	for _, e := range trusted {
		if err := b.refuse(e, certs.Check(e.cert, known, o.Kernel.Version)); err != nil {
			return err
		}
	}
	return nil
}

// stillTrusted refuses a key that is both trusted and revoked. The kernel refuses the
// signatures of every key id in .ima_blacklist.
func stillTrusted(revoked entry, trusted []entry) error {
	id, err := ima.KeyIDFromCertificate(revoked.cert)
	if err != nil {
		return fmt.Errorf("%s: %w", revoked.input, err)
	}
	for _, e := range trusted {
		other, err := ima.KeyIDFromCertificate(e.cert)
		if err == nil && id == other {
			return refused(e.input, []string{fmt.Sprintf("%s revokes its key id %s, so the kernel would accept none of its signatures", revoked.input, id)})
		}
	}
	return nil
}

// purposes warns of keys that are trusted for more than they are for.
func (b *builder) purposes() error {
	d := certs.Demands{IMA: b.version3, EVM: b.options.EVMVersion3}
	b.note(b.options.Certificates[0].Name, certs.CheckTrusted(b.inIMA, b.inEVM, d)...)
	return nil
}

// forOnePurpose refuses a key that is trusted for security.ima and for security.evm: a
// signature of a file with chosen content would be valid for the metadata of another file.
// In version 3 that is so, too, for a single inode.
func forOnePurpose(evm entry, trusted []entry) error {
	for _, e := range trusted {
		if key, ok := e.cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(evm.cert.PublicKey) {
			return quote.Below(fmt.Errorf("%s: %w", evm.input, ErrUseless),
				fmt.Sprintf("it has the same key as %s: a key for both keyrings would let a file with chosen content pass for the metadata of another file", e.input))
		}
	}
	return nil
}

// refuse returns the refusals among the findings as an error. Without refusals it keeps the
// other findings.
func (b *builder) refuse(e entry, findings []finding.Finding) error {
	var reasons []string
	findings = certs.Configured(findings, e.cert, b.options.Kernel.Config)
	for _, f := range findings {
		if f.Severity == finding.Refuse {
			reasons = append(reasons, f.Rule+": "+f.Detail)
		}
	}
	if len(reasons) > 0 {
		return refused(e.input, reasons)
	}
	b.note(e.input, findings...)
	return nil
}

// note keeps findings about the input called name.
func (b *builder) note(name string, findings ...finding.Finding) {
	for _, f := range findings {
		f.File = name
		b.findings = append(b.findings, f)
	}
}

func certificatesOf(entries []entry) []*x509.Certificate {
	var all []*x509.Certificate
	for _, e := range entries {
		all = append(all, e.cert)
	}
	return all
}

// strange matches characters that are left out of file names in an initramfs.
var strange = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// named reads certificates and gives them file names that begin with role. The first is
// role.der, the others are role_NAME.der after the names of their inputs. If NAME would be
// empty or is taken, it is a number.
func named(role string, inputs []Input) ([]entry, error) {
	var all []entry
	taken := map[string]bool{}
	for i, in := range inputs {
		cert, err := single(in)
		if err != nil {
			return nil, err
		}
		name := role + ".der"
		if i > 0 {
			name = role + "_" + label(role, in.Name) + ".der"
			if name == role+"_.der" || taken[name] {
				name = fmt.Sprintf("%s_%d.der", role, i+1)
			}
		}
		for n := len(inputs) + 1; taken[name]; n++ {
			name = fmt.Sprintf("%s_%d.der", role, n)
		}
		taken[name] = true
		all = append(all, entry{in.Name, name, cert})
	}
	return all, nil
}

func label(role, name string) string {
	name = path.Base(name)
	name = strings.TrimSuffix(name, path.Ext(name))
	name = strings.TrimPrefix(strings.TrimPrefix(name, role), "_")
	return strings.Trim(strange.ReplaceAllString(name, "_"), "._-")
}

// single returns the one certificate of an input.
func single(in Input) (*x509.Certificate, error) {
	if keyscan.Holds(in.Data) {
		return nil, fmt.Errorf("%s: %w; give a file that has only the certificate", in.Name, ErrPrivateKey)
	}
	found, err := certs.Parse(in.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	if len(found) > 1 {
		return nil, wrongOption("%s: it has %d certificates, and the kernel accepts one per file: give each in its own file", in.Name, len(found))
	}
	return found[0], nil
}
