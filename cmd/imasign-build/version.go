package main

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/libcrypto"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
)

// sourceVersion is the version of the source. A release has no -dev. It is the version of
// a build that no module version names: from a checkout between releases, or from a tarball.
const sourceVersion = "0.1.0-dev"

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what signing relies on",
		Long: `Version prints the version of the program. It also prints what makes RSA signatures and
whether keys in PKCS#11 tokens are supported.`,
		Example: `  imasign-build version --json`,
		RunE:    func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

func runVersion(a *app) error {
	v := programVersion()
	v.Head = report.Head{Command: "version"}
	v.RSA, v.PKCS11 = rsaProvider(), pkcs11.Available()
	return a.print(v, nil)
}

// tool names the program in manifests. It is the same for every build of one version of
// the source: the revision is not in it.
func tool() string { return report.Program + " " + programVersion().Version }

// programVersion describes this build, without what the machine adds to it.
func programVersion() *report.Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	v := describeBuild(info)
	v.Go, v.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
	return v
}

// pseudoVersion is the end of a module version that go made of a commit (see
// golang.org/x/mod/module).
var pseudoVersion = regexp.MustCompile(`[-.]\d{14}-[0-9a-f]{12}$`)

// describeBuild tells a build's version and revision. go install MODULE@VERSION sets the
// module's version; a build in a checkout sets the revision, and makes a module version of
// it, which is used only if it is a tag.
func describeBuild(info *debug.BuildInfo) *report.Version {
	v := &report.Version{Version: sourceVersion}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Revision = setting.Value
		case "vcs.time":
			v.RevisionTime = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	module, _, _ := strings.Cut(strings.TrimPrefix(info.Main.Version, "v"), "+")
	if module != "" && module != "(devel)" && (v.Revision == "" || !pseudoVersion.MatchString(module)) {
		v.Version = module
	}
	return v
}

func rsaProvider() string {
	library, err := libcrypto.Load()
	if err != nil {
		return fmt.Sprintf("Go's crypto/rsa, same bytes, slower: %v", err)
	}
	return "libcrypto, " + library.Version()
}
