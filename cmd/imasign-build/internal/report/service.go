package report

// NewService is a signing service that was made.
type NewService struct {
	Head
	Path
	// URI is that of --key, and Certificate the file of --cert, with which the requester uses it.
	URI         string   `json:"uri"`
	Certificate string   `json:"certificate"`
	Files       []string `json:"files"`
}

func (s *NewService) text(p *printer) {
	for _, file := range s.Files {
		p.summary(false, "%s\n", file)
	}
	p.summary(false, "use it with --key '%s' --cert %s\n", s.URI, s.Certificate)
}

// ServiceCheck is what a configuration of a signing service says.
type ServiceCheck struct {
	Head
	Path
	Keys       []ServiceKey `json:"keys"`
	Requesters int          `json:"requester_count"`
	Rules      int          `json:"rule_count"`
	Warnings   []string     `json:"warnings"` // with file, line and column
}

// ServiceKey is a key of a signing service.
type ServiceKey struct {
	Name      string `json:"name"`
	KeyID     string `json:"key_id"`
	Algorithm string `json:"algorithm"`
}

func (s *ServiceCheck) text(p *printer) {
	for _, w := range s.Warnings {
		p.printf("warning: %s\n", w)
	}
	for _, k := range s.Keys {
		p.summary(false, "key %s: %s, key id %s\n", k.Name, k.Algorithm, k.KeyID)
	}
	p.summary(false, "%s: requesters: %d, rules: %d, warnings: %d\n", s.name(), s.Requesters, s.Rules, len(s.Warnings))
}
