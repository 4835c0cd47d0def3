package report

// Version is what the program is and what it can do.
type Version struct {
	Head
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	RSA      string `json:"rsa"`
	PKCS11   bool   `json:"pkcs11"`

	Tool string `json:"-"` // the program's name and version
}

func (v *Version) text(p *printer) {
	built := ""
	if v.Revision != "" {
		built = ", " + v.Revision
	}
	keys := "files, PKCS#11 tokens, TPM 2.0"
	if !v.PKCS11 {
		keys = "files, TPM 2.0; not PKCS#11 tokens, which need a build with cgo"
	}
	p.printf("%s (%s, %s%s)\nRSA signatures by %s\nKeys: %s\n", v.Tool, v.Go, v.Platform, built, v.RSA, keys)
}
