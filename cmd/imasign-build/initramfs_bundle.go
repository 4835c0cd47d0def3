package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/quote"
)

type initramfsBundleOptions struct {
	output                        string
	certs, secondary, revoked, ca []string
	policy, busybox, hook, kernel string
	switchRoot, config            string
	allowOff                      bool
	shellElsewhere, labelsKnown   bool
}

func newInitramfsBundle(a *app) *cobra.Command {
	var o initramfsBundleOptions
	cmd := &cobra.Command{
		Use:   "bundle -o OUT --cert FILE",
		Short: "Make the certificates, policies and hook of an initramfs",
		Long: `Bundle makes what an initramfs needs for appraisal: certificates in /etc/keys,
policies in /etc/ima, and the hook that loads them and hands over to the root file
system. Everything is checked by the kernel's rules first, and a private key anywhere
is an error.

OUT is a directory, or an archive by its name (.cpio, .cpio.gz, .cpio.zst, .cpio.xz,
.cpio.bz2, .cpio.lz4): an initramfs of its own, or one to append to another. It appears
when it is complete. Equal inputs give equal bytes; SOURCE_DATE_EPOCH is the time of
all files, 1970 without it.

The first --cert becomes /etc/keys/x509_ima.der, which the kernel loads by itself; for
further ones, --secondary and --revoked the initramfs needs keyctl.

--kernel-config also checks the policy, what the hook needs, the compression and busybox
against that kernel's configuration.

  standalone           /init: mounts what root= names; --busybox brings the shell
  initramfs-framework  /init.d/95-imasign, for OE-core's initramfs-framework
  dracut               a directory to copy to /, with the module imasign`,
		Example: `  imasign-build initramfs bundle -o initramfs.cpio.gz --cert keys/x509_ima.crt --ca keys/system_trusted_key.crt --busybox /bin/busybox
  imasign-build initramfs bundle -o bundle/ --hook dracut --cert keys/x509_ima.crt --policy ima_policy`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runInitramfsBundle(cmd.Context(), a, o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "write to this `path`, an archive or a directory")
	flags.StringArrayVar(&o.certs, "cert", nil, "a certificate for .ima, a PEM or DER `file`; may be repeated")
	flags.StringArrayVar(&o.secondary, "secondary", nil, "a CA for .secondary_trusted_keys, a PEM or DER `file`; may be repeated")
	flags.StringArrayVar(&o.revoked, "revoked", nil, "a certificate for .ima_blacklist, a PEM or DER `file`; may be repeated")
	flags.StringArrayVar(&o.ca, "ca", nil, "a CA of the kernel, to check issuers with, a PEM or DER `file`; may be repeated")
	flags.StringVar(&o.policy, "policy", "", "a policy that is loaded instead of the default one, a `file`")
	flags.StringVar(&o.hook, "hook", string(initramfs.Standalone), "for which `initramfs`: initramfs-framework, dracut or standalone")
	flags.BoolVar(&o.allowOff, "allow-off", false, "let ima_appraise=off on the kernel's command line skip the policy")
	flags.StringVar(&o.switchRoot, "switch-root", initramfs.DefaultSwitchRoot, "`path` of the signed, static switch_root in the root file system")
	flags.StringVar(&o.busybox, "busybox", "", "a static busybox for the standalone hook, a `file`")
	flags.BoolVar(&o.shellElsewhere, "shell-elsewhere", false, "another archive provides the shell, mount and mkdir that /init needs")
	flags.BoolVar(&o.labelsKnown, "labels-known", false, "a security module has loaded its policy before the hook runs, and knows the labels in --policy")
	flags.StringVar(&o.config, "kernel-config", "", "the kernel's configuration, a `file` like .config or /boot/config-*")
	flags.StringVar(&o.kernel, "kernel", "", "kernel `version` whose rules count, such as 6.1 (default: the newest known, "+kernel.Newest().String()+")")
	return cmd
}

// Limits of what is read: far beyond what such files have.
const (
	maxCertificate = 1 << 20
	maxPolicy      = policy.MaxSize
	maxBusybox     = 64 << 20
)

func (o *initramfsBundleOptions) compression() (c compress.Format, archive bool, err error) {
	c, archive = compress.Initramfs().ByName(o.output)
	suffix := path.Ext(o.output)
	switch {
	case o.output == "":
		return c, archive, usagef("where to? -o FILE.cpio, FILE.cpio.gz and so on, or a directory")
	case len(o.certs) == 0:
		return c, archive, usagef("which certificate? --cert FILE, of the key that signs the root file system")
	case archive && o.hook == string(initramfs.Dracut):
		return c, archive, usagef("the dracut hook is installed by dracut, when it makes an initramfs: give -o a directory")
	case !archive && slices.Contains([]string{".gz", ".zst", ".xz", ".bz2", ".lz4", ".tar", ".img"}, suffix):
		return c, archive, usagef("-o %s: an archive's name ends in .cpio, or .cpio.gz, .zst, .xz, .bz2 or .lz4", quote.Name(o.output))
	}
	return c, archive, nil
}

func (o *initramfsBundleOptions) read(ctx context.Context) (initramfs.Options, error) {
	var p initramfs.Options
	var err error
	if p.Hook, err = initramfs.ParseHook(o.hook); err != nil {
		return p, usageError{fmt.Errorf("--hook: %w", err)}
	}
	if p.Kernel, err = (&kernelFlags{o.kernel, o.config}).kernel(ctx); err != nil {
		return p, err
	}
	p.AllowOff, p.SwitchRoot, p.ShellElsewhere, p.LabelsKnown = o.allowOff, o.switchRoot, o.shellElsewhere, o.labelsKnown
	for _, list := range []struct {
		files  []string
		name   string // in a directory
		inputs *[]initramfs.Input
	}{{o.certs, fileSigner, &p.Certificates}, {o.secondary, "x509_secondary", &p.Secondary}, {o.revoked, fileSigner, &p.Revoked}} {
		for _, file := range list.files {
			file, err := certificateFile(file, list.name)
			if err != nil {
				return p, err
			}
			in, err := readInput(ctx, file, maxCertificate)
			if err != nil {
				return p, err
			}
			*list.inputs = append(*list.inputs, *in)
		}
	}
	for _, file := range o.ca {
		more, _, err := readCertificates(ctx, file, systemCA)
		if err != nil {
			return p, err
		}
		p.CAs = append(p.CAs, more...)
	}
	if o.policy != "" {
		if p.Policy, err = readInput(ctx, o.policy, maxPolicy); err != nil {
			return p, err
		}
	}
	if o.busybox != "" {
		p.Busybox, err = readInput(ctx, o.busybox, maxBusybox)
	}
	return p, err
}

func readInput(ctx context.Context, name string, limit int64) (*initramfs.Input, error) {
	data, err := input.ReadFile(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	return &initramfs.Input{Name: name, Data: data}, nil
}

func runInitramfsBundle(ctx context.Context, a *app, o initramfsBundleOptions) error {
	compression, archive, err := o.compression()
	if err != nil {
		return err
	}
	mtime, err := a.date()
	if err != nil {
		return err
	}
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	options, err := o.read(ctx)
	if err != nil {
		return err
	}
	if archive {
		if err := options.CheckCompression(compression); err != nil {
			return err
		}
	}
	bundle, err := initramfs.New(options)
	switch {
	case errors.Is(err, initramfs.ErrOption):
		return usageError{err}
	case errors.Is(err, initramfs.ErrNoShell):
		return usagef("%w (--busybox FILE); with --shell-elsewhere they come in another archive", err)
	case err != nil:
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if archive {
		err = a.writeOutput(o.output, func(w io.Writer) error { return writeBundle(ctx, w, bundle, compression, mtime) })
	} else {
		err = bundle.WriteDir(o.output, mtime)
	}
	if err != nil {
		return err
	}
	return a.print(bundleReport(bundle, o, options.Kernel.Version), nil)
}

func writeBundle(ctx context.Context, w io.Writer, bundle *initramfs.Bundle, c compress.Format, mtime time.Time) error {
	z, err := compress.Initramfs().Writer(ctx, w, c, 1)
	if err != nil {
		return err
	}
	if err := bundle.WriteCPIO(&interruptible{ctx, z}, mtime); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// interruptible writes until its context ends. A compressor takes seconds for what it is
// handed in one piece.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i *interruptible) Write(p []byte) (n int, err error) {
	const piece = 64 << 10
	for len(p) > 0 {
		if i.ctx.Err() != nil {
			return n, context.Cause(i.ctx)
		}
		written, err := i.w.Write(p[:min(len(p), piece)])
		if n += written; err != nil {
			return n, err
		}
		p = p[written:]
	}
	return n, nil
}

func bundleReport(bundle *initramfs.Bundle, o initramfsBundleOptions, version kernel.Version) *report.Bundle {
	r := &report.Bundle{Head: report.Head{Command: "initramfs bundle"}, Path: report.PathOf(o.output), Hook: o.hook, Kernel: kernelName(version), Findings: reported(bundle.Findings)}
	for _, f := range bundle.Files {
		r.Files = append(r.Files, report.Bundled{Path: report.PathOf(f.Path), Mode: f.Mode.String(), Size: int64(len(f.Data)), Dir: f.Mode.IsDir()})
	}
	return r
}
