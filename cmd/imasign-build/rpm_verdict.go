package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// packageVerifier verifies packages and reports its findings.
type packageVerifier struct {
	*app

	progress *progress
	engine   *signing.Engine
	ring     *ima.Keyring
	level    rpmsign.Level
	choice   *packageSelectFlags
	purpose  string // the value of --key-for
	hint     purposeHint
	jobs     int
	result   *report.PackageVerification
	errs     []error
}

// start checks the flags and reads the certificates. The findings go to result.
func (o *rpmVerifyOptions) start(ctx context.Context, a *app, result *report.PackageVerification) (*packageVerifier, error) {
	v := &packageVerifier{app: a, choice: &o.choice, purpose: o.trust.purpose, jobs: o.packages.jobs, result: result}
	var err error
	if v.level, err = o.packages.level(); err != nil {
		return nil, err
	}
	if v.ring, err = o.trust.ring(ctx, a); err != nil {
		return nil, err
	}
	v.progress = a.newProgress()
	if err = v.choice.compile(v.progress.observer); err == nil {
		engine := engineFlags{jobs: 1, form: o.version}
		v.engine, err = engine.engine(nil, nil, v.progress.observer)
	}
	if err != nil {
		v.progress.close()
		return nil, err
	}
	return v, nil
}

// run verifies the packages at units.
func (v *packageVerifier) run(ctx context.Context, units []rpmfiles.Unit) error {
	v.result.Total = len(units)
	done := v.progress.packages("verified", units)
	err := eachPackage(ctx, v.jobs, units, v.verify, func(f report.PackageFindings) error {
		done(f.Path)
		return v.take(f)
	})
	v.progress.close()
	v.choice.warn(v.app, "any package")
	v.hint.tell(v.app, v.purpose)
	return err
}

// verify verifies one package.
func (v *packageVerifier) verify(ctx context.Context, u rpmfiles.Unit) report.PackageFindings {
	f := report.PackageFindings{Path: u.Path, Files: report.Verification{Verbose: v.verbose}}
	p, err := rpmsign.Open(u.Path, rpmsign.Options{})
	if err != nil {
		return v.failed(f, err)
	}
	defer p.Close() //nolint:errcheck // opened for reading
	if err := p.Check(ctx, v.level); err != nil {
		return v.failed(f, err)
	}
	f.Defects = p.Defects()
	if f.Source = p.Source(); f.Source {
		return f
	}
	f.Err = v.engine.Verify(ctx, v.choice.wrap(p), signing.Trust{Ring: v.ring}, v.hint.watch(f.Files.Take))
	return f
}

// failed distinguishes packages that are wrong, broken or unreadable.
func (v *packageVerifier) failed(f report.PackageFindings, err error) report.PackageFindings {
	v.choice.rules.Missed()
	switch {
	case errors.Is(err, rpmsign.ErrDigest):
		f.Wrong = err
	case errors.Is(err, rpmsign.ErrNotRPM), errors.Is(err, rpmsign.ErrTruncated), errors.Is(err, rpmsign.ErrOversized), errors.Is(err, rpmsign.ErrMalformed):
		f.Broken = err
	default:
		f.Err = err
	}
	return f
}

func (v *packageVerifier) take(f report.PackageFindings) error {
	if err := errors.Join(f.Err, f.Broken); err != nil {
		v.errs = append(v.errs, err)
	}
	for _, d := range f.Defects {
		if d.Flaw.Harmless() {
			v.warnOfEach(string(d.Flaw), "%s: %s: %s", f.Path, d.Flaw, d.Detail)
		}
	}
	f.Err, f.Broken, f.Wrong = v.advise(f.Err), v.advise(f.Broken), v.advise(f.Wrong)
	v.result.Take(f)
	return nil
}

// end returns the error that the verification of paths ends with.
func (v *packageVerifier) end(paths []string, allowEmpty bool) error {
	empty := v.result.Judged()+int64(v.result.Broken) == 0 && len(v.errs) == 0
	if empty {
		v.nothing("verify", strings.Join(paths, ", "), allowEmpty)
	}
	if n := len(v.errs); n > 0 {
		return errors.Join(quote.Heading(fmt.Errorf("%d of %s could not be verified", n, report.PackageCount(v.result.Total))), errors.Join(v.errs...))
	}
	if v.result.Failed > 0 || empty && !allowEmpty {
		return errWrong
	}
	return nil
}
