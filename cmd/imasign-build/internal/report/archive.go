package report

// Archive is an archive that was made of a tree without signing its files.
type Archive struct {
	Head
	EntriesWritten int64   `json:"entries_written"`
	SignedBefore   int64   `json:"signed_before"`
	Links          int64   `json:"links,omitempty"`
	Bytes          int64   `json:"bytes"`
	Seconds        float64 `json:"seconds"`

	Of string `json:"-"` // the tree, as the user named it
}

func (a *Archive) text(p *printer) {
	p.summary(false, "%s: %s entries, %s of them signed before; %s in %.1f s\n", a.Of, Count(a.EntriesWritten), Count(a.SignedBefore), Size(a.Bytes), a.Seconds)
}
