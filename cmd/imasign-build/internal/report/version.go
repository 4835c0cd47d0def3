package report

import "strings"

// Program is the name of the program.
const Program = "imasign-build"

// Version is what the program tells about itself.
type Version struct {
	Head
	Version      string `json:"version"`
	Revision     string `json:"revision,omitempty"`
	RevisionTime string `json:"revision_time,omitempty"`
	Modified     bool   `json:"modified,omitempty"`
	Go           string `json:"go"`
	Platform     string `json:"platform"`
	RSA          string `json:"rsa"`
	PKCS11       bool   `json:"pkcs11"`
}

// Line is the program's name and version and, as far as they are known, the revision, Go's
// release and the platform.
func (v *Version) Line() string {
	revision := v.Revision[:min(len(v.Revision), 12)]
	if v.Modified {
		revision += "+dirty"
	}
	var details []string
	for _, detail := range []string{revision, v.RevisionTime, v.Go, v.Platform} {
		if detail != "" {
			details = append(details, detail)
		}
	}
	line := Program + " " + v.Version
	if len(details) > 0 {
		line += " (" + strings.Join(details, ", ") + ")"
	}
	return line
}

func (v *Version) text(p *printer) {
	keys := "files, PKCS#11 tokens, TPM 2.0, signing services (https:)"
	if !v.PKCS11 {
		keys = "files, TPM 2.0, signing services (https:); not PKCS#11 tokens, which need a build with cgo"
	}
	p.printf("%s\nRSA signatures by %s\nKeys: %s\n", v.Line(), v.RSA, keys)
}
