package report

import (
	"iter"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Counts are the files that a run signed, stripped or left as they were.
type Counts struct {
	Signed       int64 `json:"signed"`
	Hashed       int64 `json:"hashed"`
	Unchanged    int64 `json:"unchanged"`
	Skipped      int64 `json:"skipped"`
	Cached       int64 `json:"cached"`
	Stripped     int64 `json:"stripped,omitempty"`
	OtherVersion int64 `json:"other_version,omitempty"`
	Rehashed     int64 `json:"rehashed,omitempty"`
	Forced       int64 `json:"forced,omitempty"`
	Links        int64 `json:"links,omitempty"`

	sum signing.Counts
}

// Add adds what the plan of one container counts.
func (c *Counts) Add(n signing.Counts) {
	c.sum.Add(n)
	c.Signed, c.Hashed, c.Unchanged, c.Skipped = c.sum.Signed, c.sum.Hashed, c.sum.Unchanged, c.sum.Skipped
	c.OtherVersion, c.Cached = c.sum.OtherVersion, c.sum.Cached
	c.Stripped, c.Rehashed, c.Forced, c.Links = c.sum.Stripped, c.sum.Rehashed, c.sum.Forced, c.sum.Links
}

// Done is the number of files that are in the requested state, or would be after a run.
func (c *Counts) Done() int64 { return c.Signed + c.Hashed + c.Stripped + c.Unchanged }

// cachedOf follows the number of files whose signatures did not have to be made.
const cachedOf = "of them with signatures from earlier runs"

// replaced says how many of the new values replace another value.
func (c *Counts) replaced() []string {
	return parts(part{c.OtherVersion, "of them in another version before"}, part{c.Rehashed, "of them over another hash before"}, part{c.Forced, "of them replaced with --force"})
}

// Change is the result of changing a tree, an archive, an image or a manifest.
type Change struct {
	Head
	DryRun bool `json:"dry_run,omitempty"`
	Counts
	Bytes              int64          `json:"bytes"`
	Seconds            float64        `json:"seconds"`
	KeyID              string         `json:"key_id,omitempty"`
	AnnotationsLeftOut map[string]int `json:"annotations_left_out,omitempty"`
	Entries            []ChangeEntry  `json:"entries,omitempty"`

	Of string `json:"-"` // what was changed, as the user named it
	// Records are all entries, for a verbose report.
	Records iter.Seq2[signing.Record, error] `json:"-"`
}

// ChangeEntry is the result for one file.
type ChangeEntry struct {
	Path
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// List adds the results for the entries of one of several containers, with a prefix
// before each path.
func (c *Change) List(prefix string, records iter.Seq2[signing.Record, error]) error {
	for r, err := range records {
		if err != nil {
			return err
		}
		c.Entries = append(c.Entries, ChangeEntry{PathOf(prefix + r.Path), r.Status().String(), r.Reason})
	}
	return nil
}

func (c *Change) prepare(verbose bool) error {
	if !verbose || c.Records == nil {
		return nil
	}
	return c.List("", c.Records)
}

func (c *Change) text(p *printer) {
	if p.verbose && c.Records != nil {
		for r, err := range c.Records {
			if err != nil {
				p.err = err
				return
			}
			p.entry(r.Status().String(), r.Path, r.Reason)
		}
	}
	for _, e := range c.Entries {
		p.entry(e.Status, e.raw, e.Reason)
	}
	would := ""
	if c.DryRun {
		would = "would be "
	}
	done := parts(part{c.Signed, would + "signed"}, part{c.Cached, cachedOf}, part{c.Hashed, would + "hashed"}, part{c.Stripped, would + "stripped"},
		part{c.Unchanged, "unchanged"}, part{c.Skipped, "skipped"})
	done = append(done, c.replaced()...)
	done = append(done, parts(part{int64(len(c.AnnotationsLeftOut)), "kinds of annotations about bytes that changed left out"})...)
	key := ""
	if c.KeyID != "" {
		key = ", key id " + c.KeyID
	}
	p.summary(false, "%s: %s; %s in %.1f s%s\n", c.Of, join(done, "nothing to do"), Size(c.Bytes), c.Seconds, key)
}

// Manifest is the result of signing a manifest.
type Manifest struct{ Change }

func (m *Manifest) text(p *printer) {
	done := append([]string{Count(m.Signed) + " signed"}, parts(part{m.Cached, cachedOf})...)
	done = append(done, Count(m.Unchanged)+" unchanged", Count(m.Skipped)+" skipped")
	done = append(done, m.replaced()...)
	p.summary(false, "%s: %s, key id %s\n", m.Of, join(done, ""), m.KeyID)
}
