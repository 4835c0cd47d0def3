package main

import (
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

func TestDescribeBuild(t *testing.T) {
	const revision = "3fa2c1d4e5f60718293a4b5c6d7e8f9012345678"
	checkout := func(module, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: module}, Settings: []debug.BuildSetting{
			{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision},
			{Key: "vcs.time", Value: "2026-11-28T13:00:00Z"}, {Key: "vcs.modified", Value: modified},
		}}
	}
	module := func(version string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}}
	}
	for name, c := range map[string]struct {
		info *debug.BuildInfo
		want string // the first line, without Go's release and the platform
	}{
		"go install of a tag":           {module("v1.2.3"), "1.2.3"},
		"go install of a prerelease":    {module("v1.2.3-rc.1"), "1.2.3-rc.1"},
		"go install of a commit":        {module("v0.0.0-20261128130000-3fa2c1d4e5f6"), "0.0.0-20261128130000-3fa2c1d4e5f6"},
		"checkout without a tag":        {checkout("v0.0.0-20261128130000-3fa2c1d4e5f6", "false"), sourceVersion + " (3fa2c1d4e5f6, 2026-11-28T13:00:00Z)"},
		"checkout behind a tag":         {checkout("v1.2.4-0.20261128130000-3fa2c1d4e5f6", "false"), sourceVersion + " (3fa2c1d4e5f6, 2026-11-28T13:00:00Z)"},
		"changed checkout":              {checkout("v0.0.0-20261128130000-3fa2c1d4e5f6+dirty", "true"), sourceVersion + " (3fa2c1d4e5f6+dirty, 2026-11-28T13:00:00Z)"},
		"checkout of a tag":             {checkout("v1.2.3", "false"), "1.2.3 (3fa2c1d4e5f6, 2026-11-28T13:00:00Z)"},
		"changed checkout of a tag":     {checkout("v1.2.3+dirty", "true"), "1.2.3 (3fa2c1d4e5f6+dirty, 2026-11-28T13:00:00Z)"},
		"tarball, or -buildvcs=false":   {module("(devel)"), sourceVersion},
		"build without any information": {&debug.BuildInfo{}, sourceVersion},
	} {
		if got, want := describeBuild(c.info).Line(), report.Program+" "+c.want; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestRecipeVersion checks that the BitBake recipe, which builds without a module version,
// has the version of the source.
func TestRecipeVersion(t *testing.T) {
	want := "../../recipes/imasign-build/imasign-build_" + strings.TrimSuffix(sourceVersion, "-dev") + ".bb"
	if found, err := filepath.Glob("../../recipes/imasign-build/*.bb"); err != nil || len(found) != 1 || found[0] != want {
		t.Errorf("%v, %v, want only %s", found, err, want)
	}
}
