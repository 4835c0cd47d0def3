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
		p.printf("%s: no cache yet; signing with a key in a token or TPM makes it\n", c.name())
	} else {
		p.printf("%s: %s, %s of at most %s\n", c.name(), signatures(c.Signatures), Size(c.Size), Size(c.Limit))
	}
	for _, k := range c.Keys {
		k.text(p)
	}
	if c.MirrorSize > 0 {
		p.printf("%-12s %s that were fetched\n", "mirrors", Size(c.MirrorSize))
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
	p.printf("%-12s %s%s%s\n", name, signatures(k.Signatures), inBrackets(k.Algorithm), used)
}

// signatures writes a number of signatures.
func signatures(n int64) string {
	if n == 1 {
		return "1 signature"
	}
	return Count(n) + " signatures"
}
