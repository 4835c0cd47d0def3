package main

import (
	"context"
	"errors"
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
	evm                           []string
	policy, busybox, hook         string
	switchRoot                    string
	kernel                        kernelFlags
	allowOff, evmVersion3         bool
	shellElsewhere, labelsKnown   bool
}

func newInitramfsBundle(a *app) *cobra.Command {
	var o initramfsBundleOptions
	cmd := &cobra.Command{
		Use:   "bundle -o OUT --cert FILE",
		Short: "Make the certificates, policies and hook of an initramfs",
		Long: `Bundle makes what an initramfs needs for appraisal: certificates in /etc/keys, policies
in /etc/ima, and a hook. At boot the hook loads the certificates and policies, before the
root file system takes over. Bundle first checks everything by the rules of the kernel.
A private key in any input is an error.

OUT is a directory, or an archive if its name ends in .cpio, .cpio.gz, .cpio.zst,
.cpio.xz, .cpio.bz2 or .cpio.lz4. An archive is a complete initramfs, or it is appended
to another one. OUT appears when it is complete. Equal inputs give equal outputs. The
date of all files is SOURCE_DATE_EPOCH, or 1970.

--hook says which kind of initramfs OUT is for:

  standalone           /init, which mounts the device that root= names; --busybox adds a shell
  initramfs-framework  /init.d/95-imasign, for the initramfs-framework of OE-core
  dracut               a directory to copy to /, with the dracut module imasign

The first --cert becomes /etc/keys/x509_ima.der, which the kernel loads without help. For
more certificates, --secondary and --revoked, the initramfs needs keyctl.

--evm-cert adds a certificate for security.evm. The hook then enables EVM before it loads
the policy, and stops if it cannot. Every file that the policy covers needs a security.evm.
With --evm-v3, it must be a version 3 signature.

The kernel does not know what keys are for. Bundle warns of keys for version 2 that are
trusted where version 3 is demanded, and of keys that are trusted for two purposes.

--kernel-config compares the configuration of the kernel with what the policy, the hook,
the compression and busybox need.`,
		Example: `  imasign-build initramfs bundle -o initramfs.cpio.gz --cert keys/x509_ima.crt \
      --ca keys/system_trusted_key.crt --busybox /bin/busybox
  imasign-build initramfs bundle -o bundle/ --hook dracut --cert keys/x509_ima.crt \
      --policy ima_policy`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInitramfsBundle(cmd.Context(), a, o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "write the archive or directory `OUT`")
	flags.StringArrayVar(&o.certs, "cert", nil, "add the certificate in `FILE`, PEM or DER, to the keyring .ima")
	flags.StringArrayVar(&o.evm, "evm-cert", nil, "add the certificate in `FILE`, PEM or DER, to the keyring .evm, and enable EVM")
	flags.BoolVar(&o.evmVersion3, "evm-v3", false, "the hook makes EVM demand version 3 signatures (bit 3), for Linux 7.1 and later")
	flags.StringArrayVar(&o.secondary, "secondary", nil, "add the CA in `FILE`, PEM or DER, to the keyring .secondary_trusted_keys")
	flags.StringArrayVar(&o.revoked, "revoked", nil, "add the certificate in `FILE`, PEM or DER, to the keyring .ima_blacklist")
	flags.StringArrayVar(&o.ca, "ca", nil, "check issuers with the kernel's CAs in `FILE`, PEM or DER")
	flags.StringVar(&o.policy, "policy", "", "load the policy in `FILE` instead of the default one")
	choiceVar(flags, &o.hook, "hook", string(initramfs.Standalone), "kind of initramfs", words(initramfs.Hooks()...))
	flags.BoolVar(&o.allowOff, "allow-off", false, "load no policy if the kernel's command line has ima_appraise=off")
	flags.StringVar(&o.switchRoot, "switch-root", initramfs.DefaultSwitchRoot, "run the signed, static switch_root at `PATH` in the root file system")
	flags.StringVar(&o.busybox, "busybox", "", "add the static busybox in `FILE`, for the standalone hook")
	flags.BoolVar(&o.shellElsewhere, "shell-elsewhere", false, "another archive has the shell, mount and mkdir that /init needs")
	flags.BoolVar(&o.labelsKnown, "labels-known", false, "before the hook runs, a security module has loaded its policy, which knows the labels in --policy")
	o.kernel.add(flags)
	return cmd
}

// Limits of inputs in bytes, far above the size of real files.
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
		return c, archive, usagef("no output was given: -o FILE.cpio, FILE.cpio.gz and so on, or -o DIR")
	case o.evmVersion3 && len(o.evm) == 0:
		return c, archive, usagef("--evm-v3 works only with --evm-cert")
	case len(o.certs) == 0:
		return c, archive, usagef("no certificate was given: --cert FILE names that of the key that signs the root file system")
	case archive && o.hook == string(initramfs.Dracut):
		return c, archive, usagef("dracut itself installs the dracut hook when it makes an initramfs: -o needs a directory")
	case !archive && slices.Contains([]string{".gz", ".zst", ".xz", ".bz2", ".lz4", ".tar", ".img"}, suffix):
		return c, archive, usagef("-o %s: the name of an archive must end in .cpio, .cpio.gz, .cpio.zst, .cpio.xz, .cpio.bz2 or .cpio.lz4", quote.Name(o.output))
	}
	return c, archive, nil
}

func (o *initramfsBundleOptions) read(ctx context.Context) (initramfs.Options, error) {
	var p initramfs.Options
	var err error
	if p.Hook, err = initramfs.ParseHook(o.hook); err != nil {
		return p, usagef("--hook %s: it is %s, %s or %s", quote.Name(o.hook), initramfs.Framework, initramfs.Dracut, initramfs.Standalone)
	}
	if p.Kernel, err = o.kernel.kernel(ctx); err != nil {
		return p, err
	}
	p.EVMVersion3 = o.evmVersion3
	p.AllowOff, p.SwitchRoot, p.ShellElsewhere, p.LabelsKnown = o.allowOff, o.switchRoot, o.shellElsewhere, o.labelsKnown
	for _, list := range []struct {
		files  []string
		name   string // in a directory
		inputs *[]initramfs.Input
	}{{o.certs, fileSigner, &p.Certificates}, {o.secondary, "x509_secondary", &p.Secondary}, {o.revoked, fileSigner, &p.Revoked}, {o.evm, evmSigner, &p.EVM}} {
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

// interruptible writes until its context ends. It writes in small pieces, because a
// compressor takes seconds for a large one.
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
