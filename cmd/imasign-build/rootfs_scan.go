package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/certs"
	"github.com/imasign/imasign-build/pkg/keyscan"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tree"
)

type rootfsScanOptions struct {
	keys, certs []string
	pass        string
	allow       []string
	allowFile   string
	jobs        int
}

func newRootfsScan(a *app) *cobra.Command {
	var o rootfsScanOptions
	cmd := &cobra.Command{
		Use:   "scan PATH…",
		Short: "Find private keys in directory trees and files",
		Long: `Scan reads every regular file below each PATH, to its last byte, and names those that
hold a private key: PEM and DER of any kind, encrypted or not, PKCS #12 and Java's key
stores, OpenSSH, dropbear, PuTTY, OpenPGP and others, as a file of their own or inside of
one, such as a tar or cpio archive. Files that are compressed as a whole (gzip, zstd, xz,
bzip2, lz4) and zip archives are unpacked for it. Not looked into are file system images
that are compressed, and what is encrypted.

--key and --cert name the keys that sign: they are known in any encoding, and found as
bare numbers, too, when --key is a file. A key that an image needs is allowed by its path
and the SHA-256 of the file that holds it; the keys that sign, never.

Exit code 3 means that there are private keys, 1 that something could not be read.`,
		Example: `  imasign-build rootfs scan rootfs/
  imasign-build rootfs scan --key x509_ima.key --allow-key usr/share/test/key.pem=9f86d0… rootfs/`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runRootfsScan(cmd.Context(), a, o, args) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.keys, "key", nil, "a key that signs, never allowed: a `path` or URI; may be repeated (environment: IMASIGN_KEY)")
	flags.StringArrayVar(&o.certs, "cert", nil, "the certificate of a key that signs, a PEM or DER `file`; may be repeated (environment: IMASIGN_CERT)")
	flags.StringVar(&o.pass, "key-pass", "", "where the passphrase of --key comes from: env:NAME, file:PATH or fd:N; without it an encrypted key is known by its file and certificate")
	flags.StringArrayVar(&o.allow, "allow-key", nil, "a private key that may be there: `PATH=SHA256`, the path from the root of the tree; may be repeated")
	flags.StringVar(&o.allowFile, "allow-keys", "", "a `file` with such keys, as sha256sum writes it")
	flags.IntVarP(&o.jobs, "jobs", "j", 0, "files to work on at a time (default: one a core)")
	return cmd
}

// scanReport is the JSON document of a scan.
type scanReport struct {
	Command string      `json:"command"`
	Files   int64       `json:"files"`
	Bytes   int64       `json:"bytes"`
	Found   int         `json:"found"`
	Allowed int         `json:"allowed"`
	Seconds float64     `json:"seconds"`
	Entries []scanEntry `json:"entries"`
}

type scanEntry struct {
	jsonPath
	Status     string `json:"status"` // "found", "allowed"
	Kind       string `json:"kind"`
	Offset     int64  `json:"offset"`           // bytes
	Inside     string `json:"inside,omitempty"` // what the offset counts in: "unpacked", or a name in a zip archive
	SHA256     string `json:"sha256"`           // of the file
	SigningKey bool   `json:"signing_key,omitempty"`
}

// keyScan is one scan.
type keyScan struct {
	*app
	scanner  *keyscan.Scanner
	allowed  map[string]string // SHA-256 in hexadecimal, by path
	used     map[string]bool
	progress *progress

	mu     sync.Mutex
	report scanReport
	errs   []error
}

func runRootfsScan(ctx context.Context, a *app, o rootfsScanOptions, paths []string) error {
	if o.jobs < 0 {
		return usagef("--jobs %d: at least 1", o.jobs)
	}
	s := &keyScan{app: a, used: map[string]bool{}, report: scanReport{Command: "rootfs scan", Entries: []scanEntry{}}}
	var err error
	if s.allowed, err = o.allowedKeys(ctx); err != nil {
		return err
	}
	own, err := o.own(ctx, a)
	if err != nil {
		return err
	}
	s.scanner = keyscan.New(own...)
	started := time.Now()
	s.progress = a.newProgress()
	defer s.progress.close()
	s.progress.enter("searched")
	err = s.scan(ctx, paths, o.jobs)
	s.progress.close()
	if err != nil {
		return err
	}
	s.report.Seconds = time.Since(started).Seconds()
	return s.finish(paths)
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
		list, err := certs.Read(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, cert := range list {
			own = append(own, keyscan.Own{Public: cert.PublicKey})
		}
	}
	for _, uri := range fromEnvironment(o.keys, "IMASIGN_KEY") {
		name, is := keyFile(uri)
		if !is {
			continue // a key that no file has
		}
		secret, err := a.secret(o.pass)
		if err != nil {
			return nil, err
		}
		loaded, err := file.Load(ctx, name, secret)
		if err != nil {
			return nil, err
		}
		key := keyscan.Own{Private: loaded.Private, Encoded: loaded.Encoded}
		if loaded.Private != nil {
			key.Public = loaded.Private.Public()
		}
		own = append(own, key)
	}
	return own, nil
}

// keyFile returns the path in a key's URI, if it is one.
func keyFile(uri string) (name string, is bool) {
	for _, scheme := range []string{"pkcs11:", "tpm2:", "https:", "nats:"} {
		if strings.HasPrefix(strings.ToLower(uri), scheme) {
			return "", false
		}
	}
	name = strings.TrimPrefix(uri, "file:")
	return strings.TrimPrefix(name, "//"), true
}

// maxAllowFile bounds a list of keys that are allowed, in bytes.
const maxAllowFile = 16 << 20

// allowedKeys reads what is allowed.
func (o *rootfsScanOptions) allowedKeys(ctx context.Context) (map[string]string, error) {
	allowed := map[string]string{}
	add := func(name, sum string) bool {
		b, err := hex.DecodeString(sum)
		if err != nil || len(b) != sha256.Size || name == "" {
			return false
		}
		allowed[strings.TrimPrefix(path.Clean("/"+name), "/")] = hex.EncodeToString(b)
		return true
	}
	for _, word := range o.allow {
		at := strings.LastIndexByte(word, '=')
		if at < 0 || !add(word[:at], word[at+1:]) {
			return nil, usagef("--allow-key %s: it is PATH=SHA256, 64 hexadecimal digits", word)
		}
	}
	if o.allowFile == "" {
		return allowed, nil
	}
	text, err := input.ReadFile(ctx, o.allowFile, maxAllowFile)
	if err != nil {
		return nil, err
	}
	for number, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		sum, name, _ := strings.Cut(line, " ")
		if !add(strings.TrimLeft(name, " *"), sum) {
			return nil, fmt.Errorf("%s: line %d: it is no line of sha256sum: SHA-256, two spaces, path", o.allowFile, number+1)
		}
	}
	return allowed, nil
}

// scanned is a file to be searched.
type scanned struct {
	path string // as it is reported and allowed
	open func() (*os.File, error)
}

// scan searches all files below paths. What cannot be read is in s.errs.
func (s *keyScan) scan(ctx context.Context, paths []string, jobs int) error {
	if jobs == 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	todo := make(chan scanned, 4*jobs)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for f := range todo {
				if ctx.Err() == nil {
					s.file(ctx, f)
				}
			}
		})
	}
	var closers []func() error
	for _, name := range paths {
		closeTree, err := s.list(ctx, name, len(paths) > 1, todo)
		if closeTree != nil {
			closers = append(closers, closeTree)
		}
		if err != nil {
			s.fail(err)
		}
	}
	close(todo)
	workers.Wait()
	for _, closeTree := range closers {
		_ = closeTree() // opened for reading
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// maxScanned bounds what is scanned of a pipe.
const maxScanned = 4 << 30

// list hands over the files below name, or name itself.
func (s *keyScan) list(ctx context.Context, name string, several bool, todo chan<- scanned) (closeTree func() error, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		todo <- scanned{name, func() (*os.File, error) { return input.Seekable(ctx, name, maxScanned) }}
		return nil, nil
	}
	t, err := tree.Open(name, tree.Options{})
	if err != nil {
		return nil, err
	}
	for node, err := range t.Walk(ctx) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.fail(err)
			continue
		}
		if !node.Mode.IsRegular() {
			continue
		}
		shown := node.Path
		if several {
			shown = t.Name(node.Path)
		}
		todo <- scanned{shown, func() (*os.File, error) { return t.Open(node.Path) }}
	}
	return t.Close, nil
}

// maxScanErrors bounds how many files that cannot be read are named.
const maxScanErrors = 100

func (s *keyScan) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) < maxScanErrors {
		s.errs = append(s.errs, err)
	}
}

// file searches one file.
func (s *keyScan) file(ctx context.Context, target scanned) {
	f, err := target.open()
	if err != nil {
		s.fail(err)
		return
	}
	defer f.Close() //nolint:errcheck // opened for reading
	found, size, err := s.search(ctx, f)
	s.progress.observer.Tell(signing.Event{Kind: signing.Checked, Path: target.path, Entries: 1, Bytes: size})
	if err != nil {
		s.fail(fmt.Errorf("search %s: %w", target.path, err))
	}
	sum := ""
	if len(found) > 0 {
		if sum, err = sumOf(f); err != nil {
			s.fail(fmt.Errorf("search %s: %w", target.path, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Files++
	s.report.Bytes += size
	for _, one := range found {
		s.add(target.path, sum, one)
	}
}

// add judges a finding; s.mu is held.
func (s *keyScan) add(name, sum string, one located) {
	e := scanEntry{jsonPath: pathJSON(name), Status: "found", Kind: one.Kind, Offset: one.Offset, Inside: one.inside, SHA256: sum, SigningKey: one.Own}
	want, listed := s.allowed[name]
	if listed {
		s.used[name] = true
	}
	if listed && want == sum && !one.Own {
		e.Status = "allowed"
		s.report.Allowed++
	} else {
		s.report.Found++
	}
	if e.Status == "found" || s.verbose {
		s.report.Entries = append(s.report.Entries, e)
	}
}

func sumOf(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", nil //nolint:nilerr // a pipe, which nothing allows
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// finish prints the report.
func (s *keyScan) finish(paths []string) error {
	slices.SortFunc(s.report.Entries, func(x, y scanEntry) int {
		if c := strings.Compare(x.raw, y.raw); c != 0 {
			return c
		}
		return int(x.Offset - y.Offset)
	})
	for name := range s.allowed {
		if !s.used[name] {
			s.warn(fmt.Sprintf("%s is allowed, but no private key is there", printable(name)))
		}
	}
	if err := s.print(paths); err != nil {
		return err
	}
	if len(s.errs) > 0 {
		return errors.Join(s.errs...)
	}
	if s.report.Found > 0 {
		return errWrong
	}
	return nil
}

func (s *keyScan) print(paths []string) error {
	if s.json {
		return s.printJSON(s.report)
	}
	for _, e := range s.report.Entries {
		printEntry(s.out, e.Status, e.raw, e.reason(s.allowed))
	}
	quote.Fprintf(s.out, "%s: private keys: %s found, %s allowed; files searched: %s, %s in %.1f s\n", strings.Join(paths, " "),
		count(int64(s.report.Found)), count(int64(s.report.Allowed)), count(s.report.Files), size(s.report.Bytes), s.report.Seconds)
	return nil
}

// reason says what a finding is, and for what could be allowed, how.
func (e *scanEntry) reason(allowed map[string]string) string {
	where := fmt.Sprintf("%s at byte %s", e.Kind, count(e.Offset))
	if e.Inside != "" {
		where += " of " + e.Inside
	}
	_, listed := allowed[e.raw]
	switch {
	case e.SigningKey:
		return "the signing key itself, " + where
	case listed && e.Status == "found":
		return where + "; what is allowed there is another file: this one has SHA-256 " + e.SHA256
	}
	return where + ", SHA-256 " + e.SHA256
}
