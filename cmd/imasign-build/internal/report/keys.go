package report

import "strings"

// Keys describes certificates and keys.
type Keys struct {
	Head
	Keys []Key `json:"keys"`
}

// Key is a certificate or a private key. A private key has no values in the fields that
// only certificates have.
type Key struct {
	Kind         string `json:"kind"` // "certificate" or "private key"
	Algorithm    string `json:"algorithm"`
	KeyID        string `json:"key_id"`
	SubjectKeyID string `json:"subject_key_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	Serial       string `json:"serial,omitempty"`
	NotBefore    string `json:"not_before,omitempty"`
	NotAfter     string `json:"not_after,omitempty"`
	Purpose      string `json:"purpose,omitempty"` // a word of purposes
	CA           bool   `json:"ca,omitempty"`
	Provider     string `json:"provider,omitempty"`
}

// SeveralPurposes is the Purpose of a certificate that contradicts itself.
const SeveralPurposes = "several"

// purposes returns what the words for purposes mean.
func purposes() map[string]string {
	return map[string]string{
		"unstated":      "version 2 signatures, as the certificate states none",
		"v2":            "version 2 signatures in security.ima",
		"v3":            "version 3 signatures",
		"evm":           "version 2 signatures in security.evm",
		SeveralPurposes: "nothing, as the certificate contradicts itself",
	}
}

func (k *Keys) text(p *printer) {
	for _, key := range k.Keys {
		key.text(p)
	}
}

func (k *Key) text(p *printer) {
	ca := ""
	if k.CA {
		ca = "it signs certificates, not files"
	}
	for _, line := range [][2]string{
		{k.Kind, k.Algorithm}, {"key id", k.KeyID}, {"subject key id", k.SubjectKeyID}, {"subject", k.Subject}, {"issuer", k.Issuer},
		{"serial", k.Serial}, {"valid from", k.NotBefore}, {"valid until", k.NotAfter}, {"signs by", k.Provider}, {"ca", ca}, {"for", purposes()[k.Purpose]},
	} {
		if line[1] != "" {
			p.printf("%-15s %s\n", line[0], line[1])
		}
	}
}

// NewKeys are keys that were made.
type NewKeys struct {
	Head
	Keys []NewKey `json:"keys"`
}

// NewKey is a key with its certificate.
type NewKey struct {
	Name  string   `json:"name"`
	KeyID string   `json:"key_id"`
	URI   string   `json:"uri,omitempty"`
	Files []string `json:"files"`
}

func (k *NewKeys) text(p *printer) {
	for _, key := range k.Keys {
		p.summary(false, "%-18s key id %s  %s\n", key.Name, key.KeyID, strings.Join(key.Files, " "))
		if key.URI != "" {
			p.summary(false, "%-18s %s\n", "", key.URI)
		}
	}
}

// Request is a certificate request that was written.
type Request struct {
	Head
	Path
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"key_id"` // with the subject key identifier that is asked for
}

func (r *Request) text(p *printer) {
	p.summary(false, "%s: request for key %s (%s)\n", r.name(), r.KeyID, r.Algorithm)
}
