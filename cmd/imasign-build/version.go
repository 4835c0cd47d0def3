package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
)

// version is of the source; manifests name it, so it must not depend on how the
// program was built.
const version = "0.1.0-dev"

const tool = "imasign-build " + version

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, what signs RSA and what keys it opens",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

func runVersion(a *app) error {
	return a.print(&report.Version{
		Head: report.Head{Command: "version"}, Version: version, Revision: revision(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, RSA: rsaProvider(), PKCS11: pkcs11.Available(), Tool: tool,
	}, nil)
}

func rsaProvider() string {
	library, err := libcrypto.Load()
	if err != nil {
		return fmt.Sprintf("Go's crypto/rsa, same bytes, slower: %v", err)
	}
	return "libcrypto, " + library.Version()
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
