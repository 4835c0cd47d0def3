package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// TestNoListIsNull checks that empty lists are [], so that scripts can iterate over them.
func TestNoListIsNull(t *testing.T) {
	infos := &PackageInfos{}
	infos.Add("a.rpm", rpmsign.Info{})
	for _, d := range []Document{
		infos, &PackageInfos{}, &Verification{}, &PackageVerification{}, &RepositoryVerification{}, &Scan{}, &Diff{},
		&KeyCheck{}, &Request{}, &PolicyCheck{}, &Simulation{}, &Bundle{Files: []Bundled{}}, &Change{}, &PackageChange{},
	} {
		var b bytes.Buffer
		if err := JSON(&b, d, true); err != nil || strings.Contains(b.String(), "null") {
			t.Errorf("%T: %v\n%s", d, err, &b)
		}
	}
}

// TestAPathThatIsNotUTF8 checks that such a path is complete in JSON, and harmless for a
// terminal.
func TestAPathThatIsNotUTF8(t *testing.T) {
	r := &Verification{Head: Head{Command: "rootfs verify"}, Of: "tree"}
	check(t, r.Take(signing.Verdict{Entry: signing.Entry{Path: "a\xff\x1b"}, Judged: signing.Judged{Outcome: signing.Unsigned, Err: signing.ErrUnsigned}}))
	var b bytes.Buffer
	check(t, JSON(&b, r, false))
	var got struct {
		Entries []struct {
			PathB64 []byte `json:"path_b64"`
			Reason  string
		}
	}
	check(t, json.Unmarshal(b.Bytes(), &got))
	if string(got.Entries[0].PathB64) != "a\xff\x1b" || got.Entries[0].Reason != "unsigned" {
		t.Errorf("%s", &b)
	}
	b.Reset()
	check(t, Text(&b, r, false))
	if want := `unsigned  "a\xff\x1b": unsigned` + "\ntree: 0 ok, 0 hashed, 1 unsigned, 0 bad\n"; b.String() != want {
		t.Errorf("%q, not %q", &b, want)
	}
}

// TestTheErrorIsInTheDocument checks that a failed command prints one document with its
// error.
func TestTheErrorIsInTheDocument(t *testing.T) {
	c := &PackageChange{Head: Head{Command: "rpm sign"}}
	c.Take(PackageOutcome{Path: "a.rpm", Err: errors.New("broken")})
	c.Take(PackageOutcome{Path: "b.rpm", Changed: true, Grows: 5, Counts: signing.Counts{Signed: 3}})
	c.Fail(Error{Message: "1 of 2", Kind: "malformed", Path: PathOf("a.rpm")})
	var b bytes.Buffer
	check(t, JSON(&b, c, false))
	var got struct {
		Command                               string
		Error                                 struct{ Message, Kind, Path string }
		Total, Changed, Failed, Grows, Signed int
		Packages                              []struct{ Path, Status, Detail string }
	}
	check(t, json.Unmarshal(b.Bytes(), &got))
	if got.Command != "rpm sign" || got.Error.Kind != "malformed" || got.Error.Path != "a.rpm" || got.Total != 2 || got.Changed != 1 || got.Failed != 1 ||
		got.Grows != 5 || got.Signed != 3 || len(got.Packages) != 1 || got.Packages[0].Detail != "broken" {
		t.Errorf("%+v", got)
	}
}

// TestEntriesAreThoseOfVerboseReports checks that only verbose reports have entries, and
// that an error of reading them is returned.
func TestEntriesAreThoseOfVerboseReports(t *testing.T) {
	var records iter.Seq2[signing.Record, error] = func(yield func(signing.Record, error) bool) {
		_ = yield(signing.Record{Entry: signing.Entry{Path: "a"}, Values: []signing.Value{{Form: ima.Form{Xattr: ima.XattrIMA}, Status: signing.Signed}}}, nil) &&
			yield(signing.Record{}, errors.New("the spool is gone"))
	}
	for _, print := range []func(*bytes.Buffer, *Change, bool) error{
		func(b *bytes.Buffer, c *Change, verbose bool) error { return JSON(b, c, verbose) },
		func(b *bytes.Buffer, c *Change, verbose bool) error { return Text(b, c, verbose) },
	} {
		var b bytes.Buffer
		if err := print(&b, &Change{Records: records}, false); err != nil || strings.Contains(b.String(), "signed  ") {
			t.Errorf("%v: %s", err, &b)
		}
		if err := print(&b, &Change{Records: records}, true); err == nil || err.Error() != "the spool is gone" {
			t.Errorf("no error: %v", err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
