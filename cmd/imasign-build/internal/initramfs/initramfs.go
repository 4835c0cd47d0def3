// Package initramfs makes the files that an initramfs needs for IMA appraisal: certificates,
// policies, and the hook that loads them and hands over to the root file system. The output
// is a directory, or a newc cpio archive, which is an initramfs of its own or is appended to
// another one.
//
// [New] checks every file by the rules of the device's kernel, and refuses whatever the
// device would refuse. It also refuses files that contain a private key. The hooks are shell
// scripts. Once the policy is loaded, the kernel executes no file of the initramfs, so the
// hooks then use only builtins of the running shell.
//
// The caller reads the inputs and chooses the output. Package certs checks certificates,
// package policy checks policies.
package initramfs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/quote"
)

// Errors that callers distinguish.
var (
	// ErrOption means that an option is missing, or contradicts another one.
	ErrOption = errors.New("wrong option") // not in the text of errors
	// ErrPrivateKey means that a file would put a private key on every device.
	ErrPrivateKey = errors.New("it contains a private key, which must not be on a device")
	// ErrRefused means that the kernel would refuse a certificate or a policy.
	ErrRefused = errors.New("the kernel would refuse it")
	// ErrUseless means that the kernel would load a policy or a certificate that does not
	// protect the device, or keeps it from booting.
	ErrUseless = errors.New("the kernel would load it, and the device would not boot, or not be protected by it")
	// ErrBusybox means that a file is not a static program that the kernel can execute.
	ErrBusybox = errors.New("not a static program")
	// ErrApplets means that a program is not the one that /init needs.
	ErrApplets = errors.New("not what /init needs")
	// ErrNoShell means that nothing runs the /init of a standalone initramfs.
	ErrNoShell = errors.New("a standalone initramfs needs a shell, mount and mkdir, or the kernel cannot run its /init: a static busybox provides them")
	// ErrExists means that the output exists, and is not an empty directory.
	ErrExists = errors.New("already exists")
	// ErrTime means that a time does not fit into a cpio archive.
	ErrTime = errors.New("before 1970 or after 2105")
)

// optionError is an ErrOption with a text of its own.
type optionError struct{ error }

func (e optionError) Unwrap() error { return e.error }

func (optionError) Is(target error) bool { return target == ErrOption }

func wrongOption(format string, args ...any) error { return optionError{fmt.Errorf(format, args...)} }

// DefaultSwitchRoot is where Yocto's util-linux-switch-root.static is.
const DefaultSwitchRoot = "/sbin/switch_root.static"

// Input is a file for a bundle: its content, and its name in errors. Certificates after the
// first are named after it.
type Input struct {
	Name string
	Data []byte
}

// Options are the contents of a bundle.
type Options struct {
	Hook Hook
	// Certificates are for the kernel's .ima keyring. Each Input has one certificate, PEM or
	// DER. The first becomes /etc/keys/x509_ima.der, which the kernel loads by itself.
	Certificates []Input
	// Secondary are CAs for .secondary_trusted_keys. Revoked are certificates for
	// .ima_blacklist: the kernel refuses signatures by their keys.
	Secondary, Revoked []Input
	// EVM are certificates for the kernel's .evm keyring. The first becomes
	// /etc/keys/x509_evm.der. If there is one, the hook enables EVM, and stops if it cannot.
	EVM []Input
	// EVMVersion3 makes the hook tell EVM to demand version 3 signatures (bit 3), which takes
	// Linux 7.1.
	EVMVersion3 bool
	// CAs are those in the kernel's builtin keyring. If there are none, issuers are not
	// checked.
	CAs []*x509.Certificate
	// Policy becomes /etc/ima/ima_policy, which the hook prefers to the profile "default"
	// in /etc/ima/ima_policy.default; nil for none.
	Policy *Input
	// SwitchRoot is the path of the signed, static switch_root of the root file system;
	// "" for DefaultSwitchRoot.
	SwitchRoot string
	// AllowOff makes the hook load no policy if the kernel's command line has
	// ima_appraise=off.
	AllowOff bool
	// Busybox is a static busybox for the standalone hook. It is required unless
	// ShellElsewhere says that another archive provides a shell, mount and mkdir.
	Busybox        *Input
	ShellElsewhere bool
	// LabelsKnown says that a security module has loaded its policy before the hook runs.
	// Usually it has not, and the kernel then refuses an IMA policy with labels.
	LabelsKnown bool
	// Kernel is the kernel whose rules certificates and policies are checked by. If its
	// configuration is known, New also checks that it has everything that the hook needs.
	Kernel kernel.Profile
}

// File is an entry of a bundle: a directory, a symbolic link or a regular file.
type File struct {
	Path string      // without a leading slash
	Mode fs.FileMode // type and permissions
	Data []byte      // content, or target of a symbolic link
}

// Bundle is a set of files for an initramfs.
type Bundle struct {
	// Files are sorted by path. A directory precedes its entries.
	Files []File
	// Findings are warnings and notes about certificates and policies. Their File is the
	// name of the Input.
	Findings []finding.Finding
}

// New checks the options and makes a bundle. Errors wrap ErrOption, ErrPrivateKey,
// ErrRefused, ErrUseless, ErrBusybox, ErrApplets, ErrNoShell, or an error of certs.Parse.
func New(o Options) (*Bundle, error) {
	if o.SwitchRoot == "" {
		o.SwitchRoot = DefaultSwitchRoot
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	b := &builder{options: o, files: map[string]File{}}
	if o.Hook == Dracut {
		b.prefix = dracutModule + "/"
	}
	for _, step := range []func() error{b.certificates, b.policies, b.purposes, b.configured, b.hook, b.busybox} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.bundle(), nil
}

// plainPath matches paths that need no quoting in a shell.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/+-]+$`)

func (o *Options) check() error {
	switch {
	case !slices.Contains(Hooks(), o.Hook):
		return wrongOption("hook %q: give one of %s", o.Hook, list(Hooks()))
	case len(o.Certificates) == 0:
		return wrongOption("a certificate is needed, of the key that signs the root file system")
	case !plainPath.MatchString(o.SwitchRoot) || path.Clean(o.SwitchRoot) != o.SwitchRoot:
		return wrongOption("switch_root %q: an absolute path of letters, digits and ._+- is needed", o.SwitchRoot)
	case o.EVMVersion3 && len(o.EVM) == 0:
		return wrongOption("EVM demands version 3 signatures only where it has a certificate")
	case o.EVMVersion3 && o.Kernel.Version.Before(7, 1):
		return refused("version 3 signatures demanded of EVM", []string{fmt.Sprintf("EVM has bit 3 since Linux 7.1: on Linux %s the hook would stop", o.Kernel.Version)})
	case (o.Busybox != nil || o.ShellElsewhere) && o.Hook != Standalone:
		return wrongOption("busybox is for the standalone hook; the initramfs of %s has a shell", o.Hook)
	case o.Busybox != nil && o.ShellElsewhere:
		return wrongOption("either busybox or another archive provides the shell, not both")
	}
	return nil
}

type builder struct {
	options  Options
	prefix   string
	files    map[string]File
	findings []finding.Finding

	inIMA, inEVM []*x509.Certificate // what the keyrings will have
	version3     bool                // a policy demands version 3 signatures
}

// add adds a regular file, unless it contains a private key. of is the name of the input
// that it was made from.
func (b *builder) add(name string, mode fs.FileMode, data []byte, of string) error {
	if keyscan.Holds(data) {
		return fmt.Errorf("%s: %w", of, ErrPrivateKey)
	}
	b.put(File{Path: name, Mode: mode, Data: data})
	return nil
}

// put adds a file and the directories above it. The kernel makes no directories by itself.
func (b *builder) put(f File) {
	for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
		b.files[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
	}
	b.files[f.Path] = f
}

func (b *builder) bundle() *Bundle {
	out := &Bundle{Findings: together(b.findings)}
	for _, f := range b.files {
		out.Files = append(out.Files, f)
	}
	slices.SortFunc(out.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	return out
}

// together merges the findings that say the same about several files.
func together(findings []finding.Finding) []finding.Finding {
	var all []finding.Finding
	for _, f := range findings {
		i := slices.IndexFunc(all, func(o finding.Finding) bool {
			return o.Line == 0 && f.Line == 0 && o.Same(&f)
		})
		if i < 0 {
			all = append(all, f)
			continue
		}
		if all[i].Files == nil {
			all[i].Files = []string{all[i].File}
		}
		all[i].Files = append(all[i].Files, f.File)
	}
	return all
}

// refused returns the error about an input that the kernel would refuse, with a line for
// each reason.
func refused(name string, reasons []string) error {
	return quote.Below(fmt.Errorf("%s: %w", name, ErrRefused), reasons...)
}

func list[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}
