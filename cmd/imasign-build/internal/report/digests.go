package report

// Digests are distinct file digests of packages that were listed in a file.
type Digests struct {
	Head
	Path               // of the list
	Total    int       `json:"total"`
	Failed   int       `json:"failed"`
	Distinct int       `json:"distinct"`
	Packages []Package `json:"packages,omitempty"`
}

// Take counts a package, and lists it if it failed.
func (d *Digests) Take(path string, err error) {
	d.Total++
	if err != nil {
		d.Failed++
		d.Packages = append(d.Packages, Package{Path: PathOf(path), Status: "failed", Detail: err.Error()})
	}
}

func (d *Digests) text(*printer) {} // the list is the result
