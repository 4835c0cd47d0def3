// Package initramfs makes what an initramfs needs for IMA appraisal: certificates,
// policies, and the hook that loads them and hands over to the root file system. It
// comes as a directory or as a newc cpio archive, which is an initramfs of its own or
// is appended to one that exists.
//
// [New] checks all of it by the rules of the kernel that is to take it, so that what
// the device would refuse fails here; nothing that holds a private key gets in. The
// hooks are shell: the kernel executes nothing of an initramfs once the policy is
// loaded, so what they do from there on is done by builtins of a shell that runs
// already.
//
// Reading the inputs and where the output goes is the caller's, judging certificates
// package certs', judging policies package policy's.
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

// What a caller may want to tell apart.
var (
	// ErrOption: an option is missing, or contradicts another.
	ErrOption = errors.New("wrong option") // not in the text of errors
	// ErrPrivateKey: a file that would put a private key on every device.
	ErrPrivateKey = errors.New("it holds a private key, which belongs on no device")
	// ErrRefused: the kernel would refuse a certificate or a policy.
	ErrRefused = errors.New("the kernel would refuse it")
	// ErrUseless: the kernel would load a policy or a certificate that does not protect the
	// device, or keeps it from booting.
	ErrUseless = errors.New("the kernel would load it, and the device would not boot, or not be protected by it")
	// ErrBusybox: not a static program that the kernel can execute.
	ErrBusybox = errors.New("not a static program")
	// ErrApplets: a program, but not the one that /init needs.
	ErrApplets = errors.New("not what /init needs")
	// ErrNoShell: nothing that runs the /init of a standalone initramfs.
	ErrNoShell = errors.New("a standalone initramfs needs a shell, mount and mkdir, or the kernel cannot run its /init: a static busybox brings them")
	// ErrExists: a directory that is not empty, or something else, is where the output goes.
	ErrExists = errors.New("already exists")
	// ErrTime: a time that a cpio archive cannot hold.
	ErrTime = errors.New("before 1970 or after 2105")
)

// optionError is an ErrOption with a text of its own.
type optionError struct{ error }

func (e optionError) Unwrap() error { return e.error }

func (optionError) Is(target error) bool { return target == ErrOption }

func wrongOption(format string, args ...any) error { return optionError{fmt.Errorf(format, args...)} }

// DefaultSwitchRoot is where Yocto's util-linux-switch-root.static is.
const DefaultSwitchRoot = "/sbin/switch_root.static"

// Input is a file that goes into a bundle: its content, and the name by which errors
// call it. Certificates after the first are named after it.
type Input struct {
	Name string
	Data []byte
}

// Options are what a bundle holds.
type Options struct {
	Hook Hook
	// Certificates go into the kernel's .ima keyring, each an Input of one certificate,
	// PEM or DER. The first becomes /etc/keys/x509_ima.der, the only one that the kernel
	// loads by itself.
	Certificates []Input
	// Secondary are CAs for .secondary_trusted_keys, Revoked certificates for
	// .ima_blacklist: signatures by their keys no longer count.
	Secondary, Revoked []Input
	// EVM are certificates for the kernel's .evm keyring. The first becomes
	// /etc/keys/x509_evm.der. If there is one, the hook enables EVM, and stops if it cannot.
	EVM []Input
	// CAs are those in the kernel's builtin keyring; without any no issuer is judged.
	CAs []*x509.Certificate
	// Policy becomes /etc/ima/ima_policy, which the hook prefers to the profile "default"
	// in /etc/ima/ima_policy.default; nil for none.
	Policy *Input
	// SwitchRoot is the path of the signed, static switch_root of the root file system;
	// "" for DefaultSwitchRoot.
	SwitchRoot string
	// AllowOff has ima_appraise=off on the kernel's command line skip the policy.
	AllowOff bool
	// Busybox is a static busybox for the standalone hook, which needs one unless
	// ShellElsewhere says that another archive brings a shell, mount and mkdir.
	Busybox        *Input
	ShellElsewhere bool
	// LabelsKnown says that a security module has its own policy when the hook runs. It
	// has none as a rule, and the kernel refuses a policy with labels then.
	LabelsKnown bool
	// Kernel is by whose rules certificates and policies are judged, and by whose
	// configuration, where that is known, what the hook needs.
	Kernel kernel.Profile
}

// File is an entry of a bundle: a directory, a symbolic link or a regular file.
type File struct {
	Path string      // without a leading slash
	Mode fs.FileMode // type and permissions
	Data []byte      // content, or target of a symbolic link
}

// Bundle is what goes into an initramfs.
type Bundle struct {
	// Files are sorted by path, directories before what is in them.
	Files []File
	// Findings are warnings and notes about certificates and policies; File is the
	// Input's name.
	Findings []finding.Finding
}

// New checks everything and makes a bundle. Errors wrap ErrOption, ErrPrivateKey,
// ErrRefused, ErrUseless, ErrBusybox, ErrApplets, ErrNoShell, or what certs.Parse returns.
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
	for _, step := range []func() error{b.certificates, b.policies, b.configured, b.hook, b.busybox} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.bundle(), nil
}

// plainPath needs no quoting in a shell.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/+-]+$`)

func (o *Options) check() error {
	switch {
	case !slices.Contains(Hooks(), o.Hook):
		return wrongOption("hook %q: there are %s", o.Hook, list(Hooks()))
	case len(o.Certificates) == 0:
		return wrongOption("a certificate is needed, of the key that signs the root file system")
	case !plainPath.MatchString(o.SwitchRoot) || path.Clean(o.SwitchRoot) != o.SwitchRoot:
		return wrongOption("switch_root %q: an absolute path of letters, digits and ._+- is needed", o.SwitchRoot)
	case (o.Busybox != nil || o.ShellElsewhere) && o.Hook != Standalone:
		return wrongOption("busybox is for the standalone hook, the initramfs of %s has a shell", o.Hook)
	case o.Busybox != nil && o.ShellElsewhere:
		return wrongOption("busybox brings a shell, and another archive is said to")
	}
	return nil
}

type builder struct {
	options  Options
	prefix   string
	files    map[string]File
	findings []finding.Finding
}

// add puts a regular file in, unless it holds a private key. of is the input that it
// was made of.
func (b *builder) add(name string, mode fs.FileMode, data []byte, of string) error {
	if keyscan.Holds(data) {
		return fmt.Errorf("%s: %w", of, ErrPrivateKey)
	}
	b.put(File{Path: name, Mode: mode, Data: data})
	return nil
}

// put adds the directories above, too: the kernel makes none by itself.
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

// together makes one finding of those that say the same about several files.
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

// refused is the error about an input that the kernel would not take: all reasons, a
// line each.
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
