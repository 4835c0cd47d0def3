package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
)

// kernelFlags name the kernel that a policy is for.
type kernelFlags struct{ version, config string }

func (f *kernelFlags) add(flags *pflag.FlagSet) {
	kernelVar(flags, &f.version)
	flags.StringVar(&f.config, "kernel-config", "", "also use the kernel's configuration in `FILE`, such as .config or /boot/config-6.12")
}

// kernelVar adds the flag that names a kernel version.
func kernelVar(flags *pflag.FlagSet, version *string) {
	flags.StringVar(version, "kernel", "", "apply the rules of the kernel `VERSION`, such as 6.6")
	annotate(flags, "kernel", noteDefault, kernel.Newest().String()+", the newest known")
}

func (f *kernelFlags) kernel(ctx context.Context) (kernel.Profile, error) {
	var k kernel.Profile
	var err error
	if f.version != "" {
		if k.Version, err = kernel.ParseVersion(f.version); err != nil {
			return k, usageError{fmt.Errorf("--kernel: %w", err)}
		}
	}
	if f.config == "" {
		return k, nil
	}
	file, err := input.Open(ctx, f.config)
	if err != nil {
		return k, err
	}
	defer file.Close() //nolint:errcheck // opened for reading
	if k.Config, err = kernel.ReadConfig(file); err != nil {
		return k, fmt.Errorf("%s: %w", f.config, err)
	}
	return k, nil
}

// kernelName returns the name of a kernel version in reports.
func kernelName(version kernel.Version) string {
	if version == (kernel.Version{}) {
		return kernel.Newest().String()
	}
	return version.String()
}

// readPolicy reads a policy from a file, or from standard input for "-".
func (a *app) readPolicy(ctx context.Context, name string) (*policy.Policy, error) {
	in := a.stdin(ctx)
	if name != "-" {
		file, err := input.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // opened for reading
		in = file
	}
	p, err := policy.Read(in)
	if errors.Is(err, policy.ErrTooLarge) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err != nil && name == "-" {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return p, err
}
