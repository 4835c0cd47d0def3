package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/scan"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

type rootfsScanOptions struct {
	keys, certs []string
	key         keyFlags // only the source of the passphrase
	allow       []string
	allowFile   string
	allowEmpty  bool
	jobs        int
}

func newRootfsScan(a *app) *cobra.Command {
	o := rootfsScanOptions{key: keyFlags{variable: true}}
	cmd := &cobra.Command{
		Use:   "scan PATH…",
		Short: "Find private keys in directory trees and files",
		Long: `Scan reads every regular file below each PATH to its last byte. It reports every file that
is a private key, or that contains one. It finds:

  PEM and DER  keys of any kind, encrypted or not
  key stores   PKCS #12 and Java
  programs     keys of OpenSSH, dropbear, PuTTY, OpenPGP and others

Scan unpacks zip archives, and files compressed with gzip, zstd, xz, bzip2 or lz4. It
does not search compressed file system images and encrypted content.

--key and --cert name the signing keys. Scan recognises them in any encoding. If --key
names a file, scan also finds the bare numbers of the key.

--allow-key permits a private key that the image needs. It takes the path and the SHA-256
of the file that contains the key. Signing keys are never permitted.

Exit code 3 means that private keys were found, or that there was no file to search. Exit
code 1 means that something could not be read.`,
		Example: `  imasign-build rootfs scan rootfs/
  imasign-build rootfs scan --key x509_ima.key --allow-keys allowed.sha256 rootfs/`,
		RunE: func(cmd *cobra.Command, args []string) error { return runRootfsScan(cmd.Context(), a, o, args) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.keys, "key", nil, "never permit the signing key `URI`: a file, a directory (all its *.key files), or a file:, pkcs11: or tpm2: URI")
	flags.StringArrayVar(&o.certs, "cert", nil, "never permit the key of the certificate in `FILE`, PEM or DER")
	annotate(flags, "key", noteEnvironment, "IMASIGN_KEY")
	annotate(flags, "cert", noteEnvironment, "IMASIGN_CERT")
	flags.StringVar(&o.key.pass, "key-pass", "", "read the passphrase of --key from `SOURCE`: env:NAME, file:PATH, fd:N or cred:NAME; without it, scan recognises an encrypted key only by its file and its certificate")
	annotate(flags, "key-pass", noteEnvironment, passVariable)
	flags.StringArrayVar(&o.allow, "allow-key", nil, "permit the private key in the file `PATH=SHA256`; the path is relative to the tree")
	flags.StringVar(&o.allowFile, "allow-keys", "", "permit the private keys in the files that `FILE` lists, in the format of sha256sum")
	addAllowEmpty(flags, &o.allowEmpty, "search")
	jobsVar(flags, &o.jobs, "files")
	return cmd
}

func runRootfsScan(ctx context.Context, a *app, o rootfsScanOptions, paths []string) error {
	if err := checkJobs(o.jobs); err != nil {
		return err
	}
	allowed, err := o.allowed(ctx)
	if err != nil {
		return err
	}
	own, err := o.own(ctx, a)
	if err != nil {
		return err
	}
	started := time.Now()
	progress := a.newProgress()
	defer progress.close()
	progress.entries("searched", true)
	progress.count(treeCount{paths: paths, crossMounts: true, files: true})
	result, err := scan.Paths(ctx, paths, scan.Options{Own: own, Allowed: allowed, Jobs: o.jobs, Observer: progress.observer})
	progress.close()
	if err != nil {
		return err
	}
	for _, name := range result.Unused {
		a.warn(fmt.Sprintf("%s is allowed, but no private key is there", quote.Name(name)))
	}
	r := scanReport(result, allowed, a.verbose)
	r.Seconds, r.Of = time.Since(started).Seconds(), paths
	if len(result.Errors) > 0 {
		return a.print(r, errors.Join(result.Errors...))
	}
	if r.Found > 0 || r.Searched == 0 && !o.allowEmpty {
		err = errWrong
	}
	err = a.print(r, err)
	if r.Searched == 0 {
		a.nothing("search", strings.Join(paths, ", "), o.allowEmpty)
	}
	return err
}

func scanReport(result *scan.Result, allowed scan.Allowed, verbose bool) *report.Scan {
	r := &report.Scan{Head: report.Head{Command: "rootfs scan"}, Searched: result.Files, Bytes: result.Bytes, Verbose: verbose}
	for _, key := range result.Keys {
		_, listed := allowed[key.Path]
		r.Add(report.Found{
			Path: report.PathOf(key.Path), Kind: key.Kind, Offset: key.Offset, Inside: key.Inside, SHA256: key.SHA256, SigningKey: key.Own, Elsewhere: listed,
		}, key.Allowed)
	}
	return r
}

// own returns the keys that the flags or the environment name.
func (o *rootfsScanOptions) own(ctx context.Context, a *app) ([]keyscan.Own, error) {
	fromEnvironment := func(list []string, name string) []string {
		if value, set := a.getenv(name); len(list) == 0 && set && value != "" {
			return []string{value}
		}
		return list
	}
	var own []keyscan.Own
	for _, name := range fromEnvironment(o.certs, "IMASIGN_CERT") {
		list, _, err := readCertificates(ctx, name, fileSigner)
		if err != nil {
			return nil, err
		}
		for _, cert := range list {
			own = append(own, keyscan.Own{Public: cert.PublicKey})
		}
	}
	secret, err := o.key.secret(a)
	if err != nil {
		return nil, err
	}
	if _, source := o.key.source(a); source != "" { // a descriptor can be read only once
		var forget func()
		secret, forget = remembered(secret)
		defer forget()
	}
	for _, uri := range fromEnvironment(o.keys, "IMASIGN_KEY") {
		paths, err := ownFiles(uri)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			private, encoded, err := file.Load(ctx, path, secret)
			if err != nil {
				return nil, err
			}
			key := keyscan.Own{Private: private, Encoded: encoded}
			if private != nil {
				key.Public = private.Public()
			}
			own = append(own, key)
		}
	}
	return own, nil
}

// ownFiles returns the key files that a URI names: all those in a directory, because
// none of its keys belongs in a tree. A key in a device has no file.
func ownFiles(uri string) ([]string, error) {
	if dir := directoryOf(uri); dir != nil {
		paths, err := keyFiles(dir.path)
		if err == nil && len(paths) == 0 {
			err = dir.without(fileSigner)
		}
		return paths, err
	}
	path, is, err := keystore.FilePath(uri)
	if err != nil || !is {
		return nil, err
	}
	return []string{path}, nil
}

// maxAllowFile is the largest list of permitted keys, in bytes.
const maxAllowFile = 16 << 20

// allowed returns the keys that --allow-key and --allow-keys permit.
func (o *rootfsScanOptions) allowed(ctx context.Context) (scan.Allowed, error) {
	allowed := scan.Allowed{}
	for _, word := range o.allow {
		at := strings.LastIndexByte(word, '=')
		if at < 0 || !allowed.Add(word[:at], word[at+1:]) {
			return nil, usagef("--allow-key %s: give PATH=SHA256, with 64 hexadecimal digits", word)
		}
	}
	if o.allowFile == "" {
		return allowed, nil
	}
	text, err := input.ReadFile(ctx, o.allowFile, maxAllowFile)
	if err != nil {
		return nil, err
	}
	if err := allowed.AddLines(string(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", o.allowFile, err)
	}
	return allowed, nil
}
