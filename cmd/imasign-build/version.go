package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/libcrypto"
)

// version is of the source; manifests name it, so it must not depend on how the
// program was built.
const version = "0.1.0-dev"

const tool = "imasign-build " + version

type versionReport struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	RSA      string `json:"rsa"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what signs RSA",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

func runVersion(a *app) error {
	r := versionReport{Version: version, Revision: revision(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, RSA: rsaProvider()}
	if a.json {
		return a.printJSON(r)
	}
	built := ""
	if r.Revision != "" {
		built = ", " + r.Revision
	}
	fmt.Fprintf(a.out, "%s (%s, %s%s)\nRSA signatures by %s\n", tool, r.Go, r.Platform, built, r.RSA)
	return nil
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
