package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

func newRPMShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show PATH…",
		Short: "Show a package's headers, signatures and their defects",
		Long: `Show prints what the headers of packages hold: format, sizes, the room that is left
for signatures, who signed files and package, and everything that is wrong with the
file signatures. Nothing is verified. Several packages (directories: every *.rpm below
them) are shown by name, the newest version first.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return runRPMShow(a, args) },
	}
}

type rpmShowReport struct {
	Command  string        `json:"command"`
	Packages []packageInfo `json:"packages"`
}

type packageInfo struct {
	jsonPath
	rpmsign.Info
}

func runRPMShow(a *app, paths []string) error {
	units, err := (&packageFlags{}).units(paths)
	if err != nil {
		return err
	}
	report := rpmShowReport{Command: "rpm show", Packages: []packageInfo{}}
	var errs []error
	for _, u := range units {
		info, err := describePackage(u.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		report.Packages = append(report.Packages, info)
	}
	slices.SortStableFunc(report.Packages, func(a, b packageInfo) int { return rpmsign.CompareInfo(a.Info, b.Info) })
	if !a.json {
		for _, info := range report.Packages {
			a.printPackage(info)
		}
	} else if err := a.printJSON(report); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func describePackage(path string) (packageInfo, error) {
	p, err := rpmsign.Open(path, rpmsign.Options{})
	if err != nil {
		return packageInfo{}, err
	}
	defer p.Close() //nolint:errcheck // opened for reading
	return packageInfo{pathJSON(path), p.Info()}, nil
}

func (a *app) printPackage(i packageInfo) {
	source := ""
	if i.Source {
		source = ", source package: its files carry no signatures"
	}
	quote.Fprintf(a.out, "%s\n", printable(i.raw))
	lines := [][2]string{
		{"name", printable(i.Name)},
		{"summary", printable(i.Summary)},
		{"format", fmt.Sprintf("version %d%s", i.Format, source)},
		{"signature header", fmt.Sprintf("%s bytes, %s to spare: %s", count(int64(i.Signature)), count(int64(i.Reserve)), strings.Join(i.Tags, " "))},
		{"main header", count(int64(i.Main)) + " bytes"},
		{"payload", strings.TrimSuffix(count(i.Payload)+" bytes, "+i.Compressor, ", ")},
		{"files", fmt.Sprintf("%s, %s with a digest (%s), %s signed", count(int64(i.Files)), count(int64(i.Digests)), i.Hash, count(int64(i.Signed)))},
		{"file signatures", fileSignatureLine(i)},
	}
	for _, s := range i.OpenPGP {
		lines = append(lines, [2]string{"openpgp", fmt.Sprintf("%s, %s with %s by key %s, %s", s.Tag, s.Algorithm, s.Hash, s.KeyID, s.Date.Format(time.RFC3339))})
	}
	for _, d := range i.Defects {
		lines = append(lines, [2]string{"defect", fmt.Sprintf("%s: %s", d.Flaw, printable(d.Detail))})
	}
	for _, l := range lines {
		quote.Fprintf(a.out, "  %-17s %s\n", l[0], l[1])
	}
}

func fileSignatureLine(i packageInfo) string {
	if i.Signed == 0 && i.In == "" {
		return "none"
	}
	where := ""
	switch i.In {
	case rpmsign.InMain:
		where = ", in the main header"
	case rpmsign.InBoth:
		where = ", in both headers"
	}
	return fmt.Sprintf("key id %s, at most %d bytes%s", join(i.KeyIDs, "none"), i.Length, where)
}
