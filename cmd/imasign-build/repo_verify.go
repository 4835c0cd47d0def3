package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

type repoVerifyOptions struct {
	rpmVerifyOptions

	signers string
}

func newRepoVerify(a *app) *cobra.Command {
	var o repoVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Verify a repository: metadata, packages, file signatures",
		Long: `Verify checks what a client of the repository would download: that the metadata match
repomd.xml and agree with each other, that every listed package exists and has the listed
checksum, size and name, that no package is unlisted, and that every listed package passes
"rpm verify". With --openpgp-cert, repomd.xml must be signed by one of the certificates in
that file. DIR may contain several repositories.

Exit code 3 means that verification failed, 1 that something could not be read.`,
		Example: `  imasign-build repo verify --cert x509_ima.crt /srv/repo`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepoVerify(cmd.Context(), a, o, args[0])
		},
	}
	o.trust.add(cmd.Flags())
	o.packages.addRead(cmd.Flags())
	addAllowEmpty(cmd.Flags(), &o.allowEmpty, "verify")
	cmd.Flags().StringVar(&o.signers, "openpgp-cert", "", "require that repomd.xml is signed by an OpenPGP certificate (public key) in this `file`")
	once(cmd.Flags(), "openpgp-cert")
	return cmd
}

// repoVerifyReport is the JSON document.
type repoVerifyReport struct {
	rpmVerifyReport

	Repositories int           `json:"repositories"`
	Wrong        int           `json:"wrong"` // findings about metadata, and packages that differ from them
	Findings     []repoFinding `json:"findings"`
}

type repoFinding struct {
	jsonPath
	Flaw   string `json:"flaw"`
	Detail string `json:"detail"`
}

func runRepoVerify(ctx context.Context, a *app, o repoVerifyOptions, dir string) error {
	level, err := o.packages.level()
	if err != nil {
		return err
	}
	ring, err := o.trust.ring(ctx, a)
	if err != nil {
		return err
	}
	signers, err := o.readSigners(ctx)
	if err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	report := &repoVerifyReport{Findings: []repoFinding{}}
	report.rpmVerifyReport = rpmVerifyReport{app: a, Command: "repo verify", Entries: []rpmVerifyEntry{}, allowEmpty: o.allowEmpty, document: report}
	units, repositories, err := repo.Verify(ctx, repo.VerifyOptions{Dir: dir, Signers: signers, Jobs: o.packages.parallel(), Observe: progress.observer}, report.find)
	if err != nil {
		return err
	}
	report.Packages, report.Repositories = len(units), repositories
	engine, err := signing.New(signing.Options{Jobs: 1, Observe: progress.observer})
	if err != nil {
		return err
	}
	err = rpmsign.Each(ctx, o.packages.parallel(), units, func(ctx context.Context, u rpmsign.Unit) packageVerdict {
		return verifyPackage(ctx, a, engine, ring, level, u)
	}, report.take)
	progress.close()
	if err != nil {
		return err
	}
	return report.end(dir)
}

// readSigners reads the certificates that repomd.xml may be signed by, nil for none.
func (o *repoVerifyOptions) readSigners(ctx context.Context) (*repo.Signers, error) {
	if o.signers == "" {
		return nil, nil
	}
	const limit = 4 << 20
	text, err := input.ReadFile(ctx, o.signers, limit)
	if err != nil {
		return nil, err
	}
	signers, err := repo.ReadSigners(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.signers, err)
	}
	return signers, nil
}

func (r *repoVerifyReport) find(f repo.Finding) error {
	r.Wrong++
	r.Findings = append(r.Findings, repoFinding{pathJSON(f.Path), string(f.Flaw), f.Detail})
	return nil
}

// end reports, and tells whether anything was wrong.
func (r *repoVerifyReport) end(dir string) error {
	if !r.json {
		for _, f := range r.Findings {
			printEntry(r.out, f.Flaw, f.raw, f.Detail)
		}
	}
	err := r.finish([]string{dir})
	if err == nil && r.Wrong > 0 || errors.Is(err, errWrong) {
		return errWrong
	}
	return err
}
