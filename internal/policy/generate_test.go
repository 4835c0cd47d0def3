package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// TestProfilesAreAccepted checks that the profiles have no findings that matter, on each
// kernel that has their words, and that every rule has a comment.
func TestProfilesAreAccepted(t *testing.T) {
	for _, profile := range Profiles() {
		text, err := Generate(profile.Name, IMASig)
		if err != nil {
			t.Fatal(err)
		}
		p := parse(t, string(text))
		for _, k := range append(kernels(t), Target{}, Target{Profile: kernel.Profile{Version: version(t, "5.15")}}) {
			for _, f := range Check(p, k) {
				if f.Severity != finding.Note {
					t.Errorf("%s on Linux %s: %+v", profile.Name, k.Version, f)
				}
			}
		}
		for _, line := range strings.Split(string(text), "\n") {
			if len(line) > 90 {
				t.Errorf("%s: a long line: %s", profile.Name, line)
			}
		}
		for _, part := range profile.parts {
			if !strings.Contains(string(text), "\n"+part.rule+"\n") {
				t.Errorf("%s has no line %s", profile.Name, part.rule)
			}
		}
		if profile.parts[0].why == "" {
			t.Errorf("%s starts without a comment", profile.Name)
		}
	}
}

func TestUnknownProfile(t *testing.T) {
	if _, err := Generate("Default", IMASig); !errors.Is(err, ErrUnknownProfile) {
		t.Errorf("error %v", err)
	}
}

// TestVersion3 checks that the profiles demand version 3 on request, that Linux 7.1 accepts them
// without a warning, and that 7.0 does not.
func TestVersion3(t *testing.T) {
	for _, profile := range Profiles() {
		text, err := Generate(profile.Name, SigV3)
		if profile.Name == "measure" || profile.Name == "audit" {
			if !errors.Is(err, ErrNoSignatures) {
				t.Errorf("%s: error %v", profile.Name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "imasig") || !strings.Contains(string(text), versionThree) {
			t.Errorf("%s:\n%s", profile.Name, text)
		}
		for _, f := range Check(parse(t, string(text)), Target{Profile: kernel.Profile{Version: version(t, "7.1"), Config: config(t, "7.1")}}) {
			if f.Severity != finding.Note {
				t.Errorf("%s on Linux 7.1: %+v", profile.Name, f)
			}
		}
		if !finding.Refused(Check(parse(t, string(text)), Target{Profile: kernel.Profile{Version: version(t, "7.0")}})) {
			t.Errorf("Linux 7.0 accepts %s", profile.Name)
		}
	}
}
