package report

// Signatures are verdicts on the signatures of a cache.
type Signatures struct {
	OK      int64       `json:"ok"`
	NotOK   int64       `json:"bad"`
	Entries []Signature `json:"entries"`
}

// Signature is a signature of a cache that is not valid.
type Signature struct {
	Status           string `json:"status"`
	KeyID            string `json:"key_id,omitempty"`
	Xattr            string `json:"xattr"`
	SignatureVersion int    `json:"signature_version"`
	SignatureOver    string `json:"signature_over,omitempty"`
	Hash             string `json:"hash"`
	Digest           string `json:"digest"`
	Reason           string `json:"reason,omitempty"`
	Detail           string `json:"detail"`
}

const (
	// mostSignatures is the number of signatures that are listed. A hostile cache can have
	// millions that are not valid.
	mostSignatures = 1000
	// fewSignatures is how many of them are listed as text, unless all were asked for.
	fewSignatures = 20
)

// Bad takes a signature that is not valid.
func (s *Signatures) Bad(one Signature) {
	if s.NotOK++; len(s.Entries) < mostSignatures {
		s.Entries = append(s.Entries, one)
	}
}

// complete makes the list an array in JSON, even if it is empty.
func (s *Signatures) complete() error {
	if s.Entries == nil {
		s.Entries = []Signature{}
	}
	return nil
}

// list writes a line for each signature that is listed, and counts the others.
func (s *Signatures) list(p *printer) {
	shown := s.Entries
	if !p.verbose {
		shown = shown[:min(len(shown), fewSignatures)]
	}
	for _, e := range shown {
		key := "an unknown key"
		if e.KeyID != "" {
			key = "key " + e.KeyID
		}
		p.entry(e.Status, e.Hash+":"+e.Digest, e.Xattr+" by "+key+": "+e.Detail)
	}
	if more := s.NotOK - int64(len(shown)); more > 0 {
		p.printf("and %s more\n", Count(more))
	}
}
