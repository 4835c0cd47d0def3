package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// PackageInfos describes packages.
type PackageInfos struct {
	Head
	Packages []PackageInfo `json:"packages"`
}

// PackageInfo is the content of a package's headers.
type PackageInfo struct {
	Path
	Name       string    `json:"name"`
	Summary    string    `json:"summary,omitempty"`
	Vendor     string    `json:"vendor,omitempty"`
	License    string    `json:"license,omitempty"`
	Built      time.Time `json:"built,omitzero"`
	Format     int       `json:"format"`
	Source     bool      `json:"source,omitempty"`
	Size       int64     `json:"size"`
	Signature  int       `json:"signature_header"`
	Reserve    int       `json:"reserve"`
	Main       int       `json:"main_header"`
	Payload    int64     `json:"payload"`
	Compressor string    `json:"compressor,omitempty"`
	Tags       []string  `json:"signature_tags"`
	Hash       string    `json:"file_digest_algorithm,omitempty"`
	Files      int       `json:"file_count"`
	Digests    int       `json:"digests"`
	Signed     int       `json:"signed"`
	Length     int       `json:"length"`
	KeyIDs     []string  `json:"key_ids"`
	Versions   []int     `json:"signature_versions"`
	In         string    `json:"file_signatures_in,omitempty"`
	OpenPGP    []OpenPGP `json:"openpgp"`
	Verity     bool      `json:"fsverity"`
	Defects    []Defect  `json:"defects"`
}

// OpenPGP is an OpenPGP signature of a package.
type OpenPGP struct {
	Tag       string    `json:"tag"`
	KeyID     string    `json:"key_id"`
	Algorithm string    `json:"algorithm"`
	Hash      string    `json:"hash"`
	Date      time.Time `json:"date"`
}

// Add adds a package.
func (r *PackageInfos) Add(path string, i rpmsign.Info) {
	r.Packages = append(r.Packages, packageInfo(path, i))
}

func packageInfo(path string, i rpmsign.Info) PackageInfo {
	openpgp := make([]OpenPGP, len(i.OpenPGP)) // [] in JSON, not null
	for n, s := range i.OpenPGP {
		openpgp[n] = OpenPGP(s)
	}
	return PackageInfo{
		Path: PathOf(path), Name: i.Name, Summary: i.Summary, Vendor: i.Vendor, License: i.License, Built: i.Built, Format: i.Format,
		Source: i.Source, Size: i.Size, Signature: i.Signature, Reserve: i.Reserve, Main: i.Main, Payload: i.Payload,
		Compressor: i.Compressor, Tags: list(i.Tags), Hash: i.Hash, Files: i.Files, Digests: i.Digests, Signed: i.Signed, Length: i.Length,
		KeyIDs: list(i.KeyIDs), Versions: list(i.Versions), In: i.In, OpenPGP: openpgp, Verity: i.Verity, Defects: defects(i.Defects),
	}
}

// list returns a list that is [] in JSON if it is empty, not null.
func list[T any](items []T) []T { return append([]T{}, items...) }

func (r *PackageInfos) prepare(bool) error {
	if r.Packages == nil {
		r.Packages = []PackageInfo{}
	}
	return nil
}

func (r *PackageInfos) text(p *printer) {
	for _, info := range r.Packages {
		info.text(p)
	}
}

func (i *PackageInfo) text(p *printer) {
	source := ""
	if i.Source {
		source = ", source package: its files carry no signatures"
	}
	p.printf("%s\n", i.name())
	lines := [][2]string{
		{"name", quote.Name(i.Name)},
		{"summary", quote.Name(i.Summary)},
		{"format", fmt.Sprintf("version %d%s", i.Format, source)},
		{"signature header", fmt.Sprintf("%s bytes, %s to spare: %s", Count(i.Signature), Count(i.Reserve), strings.Join(i.Tags, " "))},
		{"main header", Count(i.Main) + " bytes"},
		{"payload", strings.TrimSuffix(Count(i.Payload)+" bytes, "+i.Compressor, ", ")},
		{"files", fmt.Sprintf("%s, %s with a digest (%s), %s signed", Count(i.Files), Count(i.Digests), i.Hash, Count(i.Signed))},
		{"file signatures", i.fileSignatures()},
	}
	for _, s := range i.OpenPGP {
		lines = append(lines, [2]string{"openpgp", fmt.Sprintf("%s, %s with %s by key %s, %s", s.Tag, s.Algorithm, s.Hash, s.KeyID, s.Date.Format(time.RFC3339))})
	}
	for _, d := range i.Defects {
		lines = append(lines, [2]string{"defect", fmt.Sprintf("%s: %s", d.Flaw, quote.Name(d.Detail))})
	}
	for _, l := range lines {
		p.printf("  %-17s %s\n", l[0], l[1])
	}
}

func (i *PackageInfo) fileSignatures() string {
	if i.Signed == 0 && i.In == "" {
		return "none"
	}
	where := ""
	switch i.In {
	case "main":
		where = ", in the main header"
	case "both":
		where = ", in both headers"
	}
	versions := make([]string, len(i.Versions))
	for n, v := range i.Versions {
		versions[n] = fmt.Sprint("version ", v)
	}
	return fmt.Sprintf("%s, key id %s, at most %d bytes%s", join(versions, "no version"), join(i.KeyIDs, "none"), i.Length, where)
}
