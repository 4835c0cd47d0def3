package report

import "time"

// CacheStats is what a signature cache has.
type CacheStats struct {
	Head
	Path                  // of its directory
	Signatures int64      `json:"signatures"`
	Size       int64      `json:"size"`
	Limit      int64      `json:"limit"`
	MirrorSize int64      `json:"mirror_size"`
	Keys       []CacheKey `json:"keys"`

	Missing bool `json:"-"` // there is no cache yet
}

// CacheKey is what a signature cache has of one key. The id and the algorithm are missing if
// it is no key that this program knows.
type CacheKey struct {
	KeyID      string `json:"key_id,omitempty"`
	Algorithm  string `json:"algorithm,omitempty"`
	Signatures int64  `json:"signatures"`
	Oldest     string `json:"oldest_use,omitempty"`
	Newest     string `json:"newest_use,omitempty"`
}

// Day writes a day in UTC, "" for the zero time.
func Day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

func (c *CacheStats) prepare(bool) error {
	if c.Keys == nil {
		c.Keys = []CacheKey{}
	}
	return nil
}

func (c *CacheStats) text(p *printer) {
	if c.Missing {
		p.printf("%s: no cache yet; signing with a key in a token, TPM or signing service creates it\n", c.name())
	} else {
		p.printf("%s: %s, %s of at most %s\n", c.name(), signatures(c.Signatures), Size(c.Size), Size(c.Limit))
	}
	for _, k := range c.Keys {
		k.text(p)
	}
	if c.MirrorSize > 0 {
		p.printf("mirrors: %s fetched\n", Size(c.MirrorSize))
	}
}

func (k *CacheKey) text(p *printer) {
	name := "unknown key"
	if k.KeyID != "" {
		name = "key " + k.KeyID
	}
	used := ", last used " + k.Newest
	switch k.Oldest {
	case k.Newest:
	case "":
		used = ", last used until " + k.Newest
	default:
		used = ", last used from " + k.Oldest + " to " + k.Newest
	}
	if k.Newest == "" {
		used = ""
	}
	p.printf("%s%s: %s%s\n", name, inBrackets(k.Algorithm), signatures(k.Signatures), used)
}

// CacheCheck is what verifying a signature cache found.
type CacheCheck struct {
	Head
	Path // of its directory
	Signatures
	Damage  string  `json:"damage,omitempty"`
	Removed int64   `json:"signatures_removed,omitempty"`
	Seconds float64 `json:"seconds"`

	Missing bool `json:"-"` // there is no cache yet
}

// Wrong reports whether anything in the cache is not as it must be.
func (c *CacheCheck) Wrong() bool { return c.NotOK > 0 || c.Damage != "" }

func (c *CacheCheck) prepare(bool) error { return c.complete() }

func (c *CacheCheck) text(p *printer) {
	if c.Missing {
		p.summary(false, "%s: no cache yet\n", c.name())
		return
	}
	if c.Damage != "" {
		p.printf("%s\n", c.Damage)
	}
	c.list(p)
	done := []string{Count(c.OK) + " ok", Count(c.NotOK) + " bad"}
	done = append(done, parts(part{c.Removed, "removed"})...)
	p.summary(c.Wrong(), "%s: %s in %.1f s\n", c.name(), join(done, ""), c.Seconds)
}

// CachePrune is what was removed from a signature cache.
type CachePrune struct {
	Head
	Path             // of its directory
	DryRun     bool  `json:"dry_run,omitempty"`
	Removed    int64 `json:"signatures_removed"`
	Signatures int64 `json:"signatures"` // that are left
	Size       int64 `json:"size"`

	Missing bool `json:"-"` // there is no cache yet
}

func (c *CachePrune) text(p *printer) {
	if c.Missing {
		p.summary(false, "%s: no cache yet\n", c.name())
		return
	}
	verb := "removed"
	if c.DryRun {
		verb = "would be removed"
	}
	p.summary(false, "%s: %s %s, %s left, %s\n", c.name(), signatures(c.Removed), verb, Count(c.Signatures), Size(c.Size))
}

// CacheExport is what was shared of a signature cache.
type CacheExport struct {
	Head
	Path // of the directory with the shards
	Signatures
	Shards  int     `json:"shards"`
	Written int     `json:"shards_written"`
	Size    int64   `json:"size"`
	Seconds float64 `json:"seconds"`
}

func (c *CacheExport) prepare(bool) error { return c.complete() }

func (c *CacheExport) text(p *printer) {
	c.list(p)
	bad := ""
	if c.NotOK > 0 {
		bad = ", " + Count(c.NotOK) + " bad ones left out"
	}
	p.summary(c.NotOK > 0, "%s: %s in %s shards, %s of them new%s; %s in %.1f s\n", c.name(), signatures(c.OK), Count(c.Shards), Count(c.Written), bad, Size(c.Size), c.Seconds)
}

// CacheImport is what was stored in a signature cache.
type CacheImport struct {
	Head
	Path // of its directory
	Signatures
	Added     int64   `json:"signatures_added"`
	Unchanged int64   `json:"unchanged"`
	Skipped   int64   `json:"skipped"`
	Seconds   float64 `json:"seconds"`
}

func (c *CacheImport) prepare(bool) error { return c.complete() }

func (c *CacheImport) text(p *printer) {
	c.list(p)
	done := parts(part{c.Added, "added"}, part{c.Unchanged, "already there"}, part{c.Skipped, "by other keys skipped"}, part{c.NotOK, "bad ones left out"})
	p.summary(c.NotOK > 0, "%s: signatures: %s in %.1f s\n", c.name(), join(done, "none"), c.Seconds)
}

// signatures writes a number of signatures.
func signatures(n int64) string {
	if n == 1 {
		return "1 signature"
	}
	return Count(n) + " signatures"
}
