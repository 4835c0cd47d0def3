package report

import "strings"

// Scan is what a search for private keys found.
type Scan struct {
	Head
	Searched int64   `json:"searched"`
	Bytes    int64   `json:"bytes"`
	Found    int     `json:"found"`
	Allowed  int     `json:"allowed"`
	Seconds  float64 `json:"seconds"`
	Entries  []Found `json:"entries"`

	Of      []string `json:"-"` // what was searched, as the user named it
	Verbose bool     `json:"-"` // allowed keys are entries too
}

// Found is a private key in a file.
type Found struct {
	Path
	Status     string `json:"status"` // "found", "allowed"
	Kind       string `json:"kind"`
	Offset     int64  `json:"offset"`
	Inside     string `json:"inside,omitempty"`
	SHA256     string `json:"sha256"`
	SigningKey bool   `json:"signing_key,omitempty"`

	// Elsewhere says that a key is allowed in a file with this name but another digest.
	Elsewhere bool `json:"-"`
}

// Add takes a key; status is decided by allowed.
func (s *Scan) Add(f Found, allowed bool) {
	f.Status = "found"
	if allowed {
		f.Status = "allowed"
		s.Allowed++
	} else {
		s.Found++
	}
	if !allowed || s.Verbose {
		s.Entries = append(s.Entries, f)
	}
}

func (s *Scan) prepare(bool) error {
	if s.Entries == nil {
		s.Entries = []Found{}
	}
	return nil
}

func (s *Scan) text(p *printer) {
	for _, e := range s.Entries {
		p.entry(e.Status, e.raw, e.detail())
	}
	p.summary(s.Found > 0, "%s: private keys: %s found, %s allowed; files searched: %s, %s in %.1f s\n", strings.Join(s.Of, " "),
		Count(s.Found), Count(s.Allowed), Count(s.Searched), Size(s.Bytes), s.Seconds)
}

// detail says what was found, and with which digest it can be allowed.
func (f *Found) detail() string {
	where := f.Kind + " at byte " + Count(f.Offset)
	if f.Inside != "" {
		where += " of " + f.Inside
	}
	switch {
	case f.SigningKey:
		return "the signing key itself, " + where
	case f.Elsewhere && f.Status == "found":
		return where + "; the allowed file there has another digest: this file has SHA-256 " + f.SHA256
	}
	return where + ", SHA-256 " + f.SHA256
}
