package report

import (
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
)

// Diff is how two manifests differ.
type Diff struct {
	Head
	Differences []Difference `json:"differences"`
}

// Difference is a line that only one of two manifests has, or that differs; the header
// has no path.
type Difference struct {
	Path
	Change string   `json:"change"` // "removed", "added", "changed"
	Fields []string `json:"fields,omitempty"`
}

func (d *Diff) prepare(bool) error {
	if d.Differences == nil {
		d.Differences = []Difference{}
	}
	return nil
}

func (d *Diff) text(p *printer) {
	sign := map[string]string{"removed": "-", "added": "+", "changed": "~"}
	for _, e := range d.Differences {
		path := e.name()
		if e.raw == "" {
			path = "header"
		}
		var fields []string
		for _, field := range e.Fields {
			fields = append(fields, quote.Text(field))
		}
		in := ""
		if len(fields) > 0 {
			in = ": " + strings.Join(fields, ", ")
		}
		p.printf("%s %s%s\n", sign[e.Change], path, in)
	}
}
