package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

type rootfsVerifyOptions struct {
	trust    trustFlags
	engine   engineFlags
	choice   selectFlags
	require  string
	manifest string

	allowEmpty bool
}

func (o *rootfsVerifyOptions) add(flags *pflag.FlagSet) {
	o.trust.add(flags)
	o.engine.addJobs(flags)
	o.choice.add(flags)
	flags.StringVar(&o.require, "require", "all", "which `files` must be signed: all regular ones, or executable ones")
	flags.StringVar(&o.manifest, "manifest", "", "the tree must also be what this manifest `file` says")
	addAllowEmpty(flags, &o.allowEmpty, "verify")
	once(flags, "manifest")
}

func newRootfsVerify(a *app) *cobra.Command {
	var o rootfsVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Verify the signatures in a directory tree",
		Long: `Verify checks that every file that must be signed carries a signature by a trusted
certificate that holds for its content, and names each one that does not, with the
reason. A digest without a signature is accepted only for what --hashed names.

Exit code 3 means that verification failed or that there was no file to verify, 1 that
something could not be read.
` + patternHelp,
		Example: `  imasign-build rootfs verify --cert x509_ima.crt rootfs/
  imasign-build rootfs verify --cert x509_ima.crt --require executable --hashed /etc rootfs/`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRootfsVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func runRootfsVerify(ctx context.Context, a *app, o rootfsVerifyOptions, dir string) error {
	if o.manifest != "" && (len(o.choice.include)+len(o.choice.exclude)+len(o.choice.hashed) > 0 || o.require == string(rootfs.Executable)) {
		return usagef("--manifest says itself which files are signed: leave out --include, --exclude, --hashed and --require")
	}
	v, err := newVerifier(ctx, a, &o.trust, o.manifest, &o.engine)
	if err != nil {
		return err
	}
	defer v.close()
	tree, err := o.choice.open(dir, o.require, v.progress.observer)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // opened for reading
	return v.verify(ctx, tree, &verifyReport{app: a, Command: "rootfs verify", allowEmpty: o.allowEmpty}, dir)
}

// openIndex opens the manifest in file, nil for "".
func openIndex(ctx context.Context, file string) (*manifest.Index, func(), error) {
	if file == "" {
		return nil, func() {}, nil
	}
	f, size, err := openManifest(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	index, err := manifest.NewIndex(f, size)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return index, func() { _ = f.Close() }, nil
}

// verifyReport is the JSON document of a verification, filled verdict by verdict.
type verifyReport struct {
	*app `json:"-"`

	Command  string        `json:"command"`
	OK       int64         `json:"ok"`
	Unsigned int64         `json:"unsigned"`
	Bad      int64         `json:"bad"`
	Hashed   int64         `json:"hashed"`
	Ignored  int64         `json:"ignored"`
	Entries  []verifyEntry `json:"entries"`

	allowEmpty bool
}

type verifyEntry struct {
	jsonPath
	Status string `json:"status"`
	// Reason is a short stable phrase, Detail the whole sentence.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	KeyID  string `json:"key_id,omitempty"`
}

func (r *verifyReport) take(v signing.Verdict) error {
	switch v.Outcome {
	case signing.OK:
		r.OK++
	case signing.HashedOK:
		r.Hashed++
	case signing.Unsigned:
		r.Unsigned++
	case signing.Bad:
		r.Bad++
	case signing.Ignored:
		r.Ignored++
	}
	if r.verbose || v.Outcome.Wrong() {
		r.Entries = append(r.Entries, verifyEntryOf(v))
	}
	return nil
}

func verifyEntryOf(v signing.Verdict) verifyEntry {
	e := verifyEntry{jsonPath: pathJSON(v.Path), Status: v.Outcome.String(), Reason: v.Reason, Detail: v.Reason}
	if v.Err != nil {
		e.Reason, e.Detail = reason(v.Err), v.Err.Error()
	}
	if v.KeyID != 0 {
		e.KeyID = v.KeyID.String()
	}
	return e
}

func reason(err error) string {
	switch {
	case errors.Is(err, signing.ErrUnsigned):
		return "unsigned"
	case errors.Is(err, signing.ErrMismatch):
		return "manifest mismatch"
	case errors.Is(err, signing.ErrOtherHash):
		return "other hash"
	}
	return ima.Reason(err)
}

func (r *verifyReport) finish(dir string) error {
	empty := r.OK+r.Hashed+r.Unsigned+r.Bad == 0
	if empty {
		r.nothing("verify", dir, r.allowEmpty)
	}
	if r.json {
		if r.Entries == nil {
			r.Entries = []verifyEntry{}
		}
		if err := r.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, e := range r.Entries {
			printEntry(r.out, e.Status, e.raw, e.Detail)
		}
		quote.Fprintf(r.out, "%s: %s ok, %s hashed, %s unsigned, %s bad\n", dir, count(r.OK), count(r.Hashed), count(r.Unsigned), count(r.Bad))
	}
	if r.Unsigned+r.Bad > 0 || empty && !r.allowEmpty {
		return errWrong
	}
	return nil
}
