package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imasign/imasign-build/internal/quote"
)

// AuditVerification is what verifying logs and receipts of signing services found.
type AuditVerification struct {
	Head
	Logs     []AuditedLog      `json:"logs"`
	Receipts []AuditedReceipts `json:"receipts,omitempty"`
	Seconds  float64           `json:"seconds"`
}

// AuditedReceipts is a file of receipts, and what they prove.
type AuditedReceipts struct {
	Path
	Logs       []string `json:"log_names,omitempty"`
	Records    int64    `json:"records"`
	Signatures int64    `json:"signatures"`
	Damaged    int64    `json:"damaged,omitempty"`
	Status     string   `json:"status"` // "ok", "damaged"
	Detail     string   `json:"detail,omitempty"`
}

// AuditedLog is a log, and how far it is as its key signed it.
type AuditedLog struct {
	Log        string `json:"log"`
	Origin     string `json:"log_name,omitempty"`
	Records    int64  `json:"records"`
	Signatures int64  `json:"signatures"`
	Refused    int64  `json:"refused_requests"`
	Root       string `json:"root,omitempty"`
	Status     string `json:"status"` // "ok", "damaged"
	Record     *int64 `json:"record,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

// Wrong reports whether a log or a receipt is damaged.
func (v *AuditVerification) Wrong() bool {
	for i := range v.Receipts {
		if v.Receipts[i].Status != "ok" {
			return true
		}
	}
	for i := range v.Logs {
		if v.Logs[i].Status != "ok" {
			return true
		}
	}
	return false
}

func (v *AuditVerification) prepare(bool) error {
	if v.Logs == nil {
		v.Logs = []AuditedLog{}
	}
	return nil
}

func (v *AuditVerification) text(p *printer) {
	for i := range v.Logs {
		l := &v.Logs[i]
		if l.Status != "ok" {
			p.printf("damaged   %s\n", quote.Text(l.Detail))
			continue
		}
		p.summary(false, "ok        %s: log %s: %s, %s, %s; root %s\n", quote.Name(l.Log), quote.Text(l.Origin),
			plural(l.Records, "record"), signatures(l.Signatures), plural(l.Refused, "refused request"), l.Root)
	}
	for i := range v.Receipts {
		v.Receipts[i].text(p)
	}
}

func (r *AuditedReceipts) text(p *printer) {
	if r.Status != "ok" {
		p.printf("damaged   %s (%s damaged, %s ok)\n", quote.Text(r.Detail), plural(r.Damaged, "receipt"), Count(r.Records))
		return
	}
	if r.Records == 0 {
		p.summary(false, "ok        %s: no receipts\n", r.name())
		return
	}
	names := make([]string, len(r.Logs))
	for i, name := range r.Logs {
		names[i] = quote.Text(name)
	}
	p.summary(false, "ok        %s: %s of %s, in the log %s\n", r.name(), plural(r.Records, "receipt"), signatures(r.Signatures), strings.Join(names, ", "))
}

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return Count(n) + " " + word + "s"
}

// AuditRecords are records of logs.
type AuditRecords struct {
	Head
	Logged []Logged `json:"logged"`
}

// Logged is a request that a signing service granted or refused.
type Logged struct {
	Log        string      `json:"log"`
	Record     int64       `json:"record"`
	Time       string      `json:"time"`
	Status     string      `json:"status"` // "granted", "refused"
	Reason     string      `json:"reason,omitempty"`
	Requester  string      `json:"requester"`
	Request    string      `json:"request_id"`
	Key        string      `json:"key_name"`
	SPKI       string      `json:"spki,omitempty"`
	Form       string      `json:"form"`
	Hash       string      `json:"hash"`
	Signatures int64       `json:"signatures"`
	Rule       string      `json:"rule,omitempty"`
	More       int64       `json:"more_refused,omitempty"`
	Manifests  []string    `json:"approved_manifests,omitempty"`
	Claimed    []ClaimedAs `json:"claimed,omitempty"`
}

// ClaimedAs is a digest, and what it is of according to the requester.
type ClaimedAs struct {
	Digest    string `json:"digest"`
	Container string `json:"container,omitempty"`
	Name      string `json:"container_name,omitempty"`
	Path
}

// At writes a time in UTC.
func At(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

func (r *AuditRecords) prepare(bool) error {
	if r.Logged == nil {
		r.Logged = []Logged{}
	}
	return nil
}

func (r *AuditRecords) text(p *printer) {
	for i := range r.Logged {
		r.Logged[i].text(p)
	}
}

func (l *Logged) text(p *printer) {
	what := fmt.Sprintf("%s by rule %s", signatures(l.Signatures), quote.Text(l.Rule))
	if l.Status == "refused" {
		what = "refused: " + quote.Text(l.Reason)
	}
	if l.More > 0 {
		what += fmt.Sprintf(", and %s more", plural(l.More, "refusal"))
	}
	p.printf("%d  %s  %s  key %s  %s %s  %s\n", l.Record, l.Time, quote.Text(l.Requester), quote.Text(l.Key), l.Form, l.Hash, what)
	for i := range l.Claimed {
		c := &l.Claimed[i]
		if c.Container == "" {
			p.printf("    %s\n", c.Digest)
			continue
		}
		p.printf("    %s claimed to be of %s %s: %s\n", c.Digest, quote.Text(c.Container), quote.Name(c.Name), c.name())
	}
}

// AuditExport is a copy of a log.
type AuditExport struct {
	Head
	Path           // of the copy
	Log     string `json:"log"`
	Origin  string `json:"log_name"`
	Records int64  `json:"records"`
}

func (e *AuditExport) text(p *printer) {
	p.summary(false, "%s: a copy of the log %s with %s\n", e.name(), quote.Text(e.Origin), plural(e.Records, "record"))
}

// AuditProof says which signatures of manifests are in a log or in receipts.
type AuditProof struct {
	Head
	NoLog    bool     `json:"-"` // only receipts were read
	Proved   int64    `json:"proved"`
	Unproved int64    `json:"unproved"`
	Entries  []Proved `json:"entries"`
	Seconds  float64  `json:"seconds"`
}

// Proved is a signature in a manifest, and the record that has it.
type Proved struct {
	Path
	Manifest  string `json:"manifest"`
	Container string `json:"container_name,omitempty"`
	Xattr     string `json:"xattr"`
	KeyID     string `json:"key_id,omitempty"`
	Status    string `json:"status"` // "proved", "unproved"
	Reason    string `json:"reason,omitempty"`
	Log       string `json:"log,omitempty"`
	Record    *int64 `json:"record,omitempty"`
	Time      string `json:"time,omitempty"`
	Requester string `json:"requester,omitempty"`
}

func (a *AuditProof) prepare(verbose bool) error {
	kept := []Proved{}
	for i := range a.Entries {
		if verbose || a.Entries[i].Status != "proved" {
			kept = append(kept, a.Entries[i])
		}
	}
	a.Entries = kept
	return nil
}

func (a *AuditProof) text(p *printer) {
	for i := range a.Entries {
		e := &a.Entries[i]
		in := quote.Name(e.Manifest)
		if e.Container != "" {
			in += ", " + quote.Name(e.Container)
		}
		switch {
		case e.Status != "proved":
			p.printf("unproved  %s: %s of %s: %s\n", in, e.Xattr, e.name(), e.Reason)
		case p.verbose:
			p.printf("proved    %s: %s of %s: record %d of %s\n", in, e.Xattr, e.name(), *e.Record, quote.Name(e.Log))
		}
	}
	where := "log"
	if a.NoLog {
		where = "receipt"
	}
	p.summary(a.Unproved > 0, "%s proved, %s in no %s, in %.1f s\n", signatures(a.Proved), Count(a.Unproved), where, a.Seconds)
}
