package signing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

func TestPlanIsInContainerOrderAtAnyJobs(t *testing.T) {
	k := newKey(t)
	list := many(1100, 250)
	slices.Reverse(list) // not sorted by path
	var first []byte
	for _, jobs := range []int{1, 2, 9} {
		p := plan(t, k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Workers: jobs}, 0)}, Jobs: jobs}), list...)
		for i, r := range records(t, p) {
			if r.Path != list[i].Path || r.Index != i {
				t.Fatalf("jobs %d: record %d is %s, index %d", jobs, i, r.Path, r.Index)
			}
			if err := k.verify(r.Final(ima.XattrIMA), ima.SHA256, sum(ima.SHA256, fmt.Sprint("content ", (1099-i)%250))); err != nil {
				t.Fatalf("%s: %v", r.Path, err)
			}
		}
		m := text(t, p, "tree")
		if first == nil {
			first = m
		}
		if !bytes.Equal(m, first) {
			t.Errorf("jobs %d: the manifest differs", jobs)
		}
	}
}

func TestDigestsAreSignedOnceInBatches(t *testing.T) {
	k := newKey(t)
	s := &countingSigner{Signer: k.signer()}
	e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Workers: 2}, 0)}})
	plan(t, e, many(5000, 1000)...)
	if n := s.digests.Load(); n != 1000 {
		t.Errorf("%d digests were signed, but 1000 are distinct", n)
	}
	if n := s.calls.Load(); n > 50 {
		t.Errorf("%d calls for 1000 digests", n)
	}
	plan(t, e, many(1000, 1000)...)
	if n := s.digests.Load(); n != 1000 {
		t.Errorf("a second plan of the engine signed %d again", n-1000)
	}
	// The same bytes under two hashes are two digests.
	plan(t, e, stated("a", ima.SHA256, "new"), stated("b", ima.SHA512, "new"), stated("c", ima.SHA3_256, "new"))
	if n := s.digests.Load(); n != 1003 {
		t.Errorf("%d digests were signed for three hashes", n-1000)
	}
}

func TestDecisions(t *testing.T) {
	k, other := newKey(t), newKey(t)
	normal, forced := k.engine(t, signing.Options{}), k.engine(t, signing.Options{Force: true})
	keyless := engine(t, signing.Options{})
	mine, theirs := k.value(t, ima.SHA256, "x"), other.value(t, ima.SHA256, "x")
	hashed := ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x"))
	hashOnly := func(e signing.Entry) signing.Entry {
		e.HashOnly = true
		return e
	}
	for _, c := range []struct {
		name   string
		engine *signing.Engine
		entry  signing.Entry
		want   signing.Status
	}{
		{"new", normal, file("f", "x"), signing.Signed},
		{"ours", normal, file("f", "x", mine), signing.Unchanged},
		{"ours, forced", forced, file("f", "x", mine), signing.Unchanged},
		{"ours of other content", normal, file("f", "y", mine), signing.Signed},
		{"ours over another hash", normal, file("f", "x", k.value(t, ima.SHA512, "x")), signing.Signed},
		{"theirs, forced", forced, file("f", "x", theirs), signing.Signed},
		{"theirs, without a key to compare", keyless, file("f", "x", theirs), signing.Signed},
		{"a digest", normal, file("f", "x", hashed), signing.Signed},
		{"hash only", normal, hashOnly(file("f", "x")), signing.Hashed},
		{"hash only, has it", normal, hashOnly(file("f", "x", hashed)), signing.Unchanged},
		{"hash only, has ours", normal, hashOnly(file("f", "x", mine)), signing.Hashed},
		{"hash only, theirs, forced", forced, hashOnly(file("f", "x", theirs)), signing.Hashed},
		{"hash only, has another digest", normal, hashOnly(file("f", "y", hashed)), signing.Hashed},
		{"stated, new", normal, stated("f", ima.SHA384, "x"), signing.Signed},
		{"stated, ours", normal, stated("f", ima.SHA256, "x", mine), signing.Unchanged},
		{"stated, weak, hash only", normal, hashOnly(stated("f", ima.SHA1, "x")), signing.Hashed},
	} {
		r := one(t, c.engine, c.entry)
		if r.Status() != c.want || r.Pending() != (c.want != signing.Unchanged) {
			t.Errorf("%s: %s, pending %v", c.name, r.Status(), r.Pending())
		}
		value := r.Final(ima.XattrIMA)
		switch {
		case c.engine == keyless && value != nil, c.want == signing.Unchanged && !bytes.Equal(value, r.Xattrs[ima.XattrIMA]),
			c.want == signing.Hashed && !bytes.Equal(value, ima.DigestValue(r.Digests[0].Hash, r.Digests[0].Sum)),
			c.want == signing.Signed && c.engine != keyless && k.verify(value, r.Digests[0].Hash, r.Digests[0].Sum) != nil:
			t.Errorf("%s: value %x", c.name, value)
		}
	}
	for name, entry := range map[string]signing.Entry{"theirs": file("f", "x", theirs), "theirs, hash only": hashOnly(file("f", "x", theirs)), "theirs, stated": stated("f", ima.SHA256, "x", theirs)} {
		if _, err := normal.Plan(context.Background(), source(entry)); !errors.Is(err, signing.ErrOtherKey) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestRotation checks that only files that the old key signed get a new signature.
func TestRotation(t *testing.T) {
	old, k, third := newKey(t), newKey(t), newKey(t)
	e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{From: old.public.ID()}, 0)}})
	mine, olds := k.value(t, ima.SHA256, "x"), old.value(t, ima.SHA256, "x")
	hashed := ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x"))
	hashOnly := file("f", "x", olds)
	hashOnly.HashOnly = true
	for _, c := range []struct {
		name  string
		entry signing.Entry
		want  signing.Status
	}{
		{"of the old key", file("f", "x", olds), signing.Signed},
		{"of the old key over another hash", file("f", "x", old.value(t, ima.SHA512, "x")), signing.Signed},
		{"of the old key, stated", stated("f", ima.SHA384, "x", old.value(t, ima.SHA384, "x")), signing.Signed},
		{"of the old key, hash only", hashOnly, signing.Hashed},
		{"of the new key", file("f", "x", mine), signing.Unchanged},
		{"unsigned", file("f", "x"), signing.Skipped},
		{"a digest", file("f", "x", hashed), signing.Skipped},
	} {
		r := one(t, e, c.entry)
		if r.Status() != c.want || (r.Status() == signing.Skipped) != (r.Reason != "") {
			t.Errorf("%s: %s, reason %q", c.name, r.Status(), r.Reason)
		}
		if r.Status() == signing.Signed {
			check(t, k.verify(r.Final(ima.XattrIMA), r.Digests[0].Hash, r.Digests[0].Sum))
		}
	}
	for name, c := range map[string]struct {
		entry signing.Entry
		want  error
	}{
		"of a third key":                {file("f", "x", third.value(t, ima.SHA256, "x")), signing.ErrOtherKey},
		"of the new key, other content": {file("f", "y", mine), ima.ErrBadSignature},
		"damaged":                       {file("f", "x", olds[:20]), ima.ErrTruncated},
	} {
		if _, err := e.Plan(context.Background(), source(c.entry)); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, key := range []signing.Key{{From: 1}, {Signer: k.signer(), Public: k.public, From: k.public.ID()}} {
		if _, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&key, 0)}, Force: key.From == 1}); err == nil {
			t.Errorf("%+v is accepted", key)
		}
	}
}

func TestPlanRefusesEntriesThatCannotBeSigned(t *testing.T) {
	k := newKey(t)
	short := stated("f", ima.SHA256, "x")
	short.Digests[0].Sum = short.Digests[0].Sum[1:]
	hashOnly := short
	hashOnly.HashOnly = true
	nothing := signing.Entry{Path: "f"}
	silent := file("f", "x")
	silent.Open = func(context.Context) (*signing.File, error) { return nil, nil }
	for name, c := range map[string]struct {
		entry signing.Entry
		want  error
		text  string
	}{
		"short digest":            {short, ima.ErrDigestSize, "31 bytes"},
		"short digest, hash only": {hashOnly, ima.ErrDigestSize, "31 bytes"},
		"SHA-1":                   {stated("f", ima.SHA1, "x"), ima.ErrSHA1, "sha1"},
		"SM3":                     {signing.Entry{Path: "f", Digests: []signing.Digest{{Hash: ima.SM3, Sum: make([]byte, 32)}}}, ima.ErrUnsupportedHash, "sm3"},
		"neither":                 {nothing, nil, "neither its content nor its digest"},
		"no content, no reason":   {silent, nil, "neither its content nor a reason"},
	} {
		for _, e := range []*signing.Engine{k.engine(t, signing.Options{}), engine(t, signing.Options{})} { // a dry run refuses them too
			_, err := e.Plan(context.Background(), source(c.entry))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "f: ") || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	k := newKey(t)
	for name, s := range map[string]signing.Stage{
		"without the public key": signing.ContentStage(&signing.Key{Signer: k.signer()}, 0),
		"cannot compute it":      signing.ContentStage(nil, ima.SM3),
		"too weak":               signing.ContentStage(&signing.Key{Signer: k.signer(), Public: k.public}, ima.SHA1),
	} {
		if _, err := signing.New(signing.Options{Stages: []signing.Stage{s}}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestHardLinksAndReasons(t *testing.T) {
	k := newKey(t)
	s := &countingSigner{Signer: k.signer()}
	opened := 0
	first := file("a", "x")
	content := first.Open
	first.Group = "a"
	first.Open = func(ctx context.Context) (*signing.File, error) {
		opened++
		f, err := content(ctx)
		f.Xattrs = map[string][]byte{ima.XattrEVM: {5}}
		return f, err
	}
	second := signing.Entry{Path: "b", Group: "a"}
	left := signing.Entry{Path: "c", Reason: "directory"}
	late := file("d", "x")
	late.Open = func(context.Context) (*signing.File, error) { return nil, signing.Unselected{Reason: "not executable"} }
	late.Group = "d"
	lateLink := signing.Entry{Path: "e", Group: "d"}
	hashOnly := file("f", "f")
	hashOnly.HashOnly = true
	var warnings []string
	observe := signing.NewObserver(func(e signing.Event) {
		if e.Kind == signing.Warning {
			warnings = append(warnings, e.Message)
		}
	})
	p := plan(t, k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s}, 0)}, Observe: observe}), first, second, left, late, lateLink, hashOnly, file("g", "gg", k.value(t, ima.SHA256, "gg")))
	all := records(t, p)
	if opened != 1 || s.digests.Load() != 1 {
		t.Errorf("opened %d times, signed %d digests", opened, s.digests.Load())
	}
	if !all[0].Pending() || all[1].Pending() || !bytes.Equal(all[0].Final(ima.XattrIMA), all[1].Final(ima.XattrIMA)) || !bytes.Equal(all[1].Digests[0].Sum, all[0].Digests[0].Sum) {
		t.Errorf("the two names: %+v\n%+v", all[0], all[1])
	}
	for _, i := range []int{3, 4} {
		if all[i].Status() != signing.Skipped || all[i].Reason != "not executable" || all[i].Values != nil {
			t.Errorf("unselected by Open: %+v", all[i])
		}
	}
	want := signing.Counts{Signed: 1, Hashed: 1, Unchanged: 1, Skipped: 3, Links: 1, Bytes: 4}
	if p.Counts() != want || p.Counts().Pending() != 2 {
		t.Errorf("counts %+v, want %+v", p.Counts(), want)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "1 files have a security.evm") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestDryRunWithoutASigner(t *testing.T) {
	k := newKey(t)
	p := plan(t, engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Public: k.public}, 0)}}), file("a", "x"), file("b", "y", k.value(t, ima.SHA256, "y")))
	all := records(t, p)
	if all[0].Status() != signing.Signed || all[0].Final(ima.XattrIMA) != nil || !bytes.Equal(all[0].Digests[0].Sum, sum(ima.SHA256, "x")) || all[1].Status() != signing.Unchanged {
		t.Errorf("%+v", all)
	}
	if err := p.Attachable(); !errors.Is(err, signing.ErrUnsignedPlan) {
		t.Errorf("Attachable: %v", err)
	}
	check(t, plan(t, engine(t, signing.Options{}), file("a", "x", nil), signing.Entry{Path: "b", Reason: "r"}).Close())
	nothing := plan(t, engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Public: k.public}, 0)}}), file("b", "y", k.value(t, ima.SHA256, "y")))
	check(t, nothing.Attachable())
	check(t, plan(t, k.engine(t, signing.Options{}), file("a", "x")).Attachable())
}

func TestEventsAreSerialAndComplete(t *testing.T) {
	k := newKey(t)
	busy, planned, checked := false, int64(0), int64(0)
	var size int64
	observe := signing.NewObserver(func(e signing.Event) { // -race detects concurrent events
		if busy {
			t.Error("two events at the same time")
		}
		busy = true
		switch e.Kind {
		case signing.Planned:
			planned += e.Entries
		case signing.Checked:
			checked += e.Entries
		}
		size += e.Bytes
		busy = false
	})
	e := k.engine(t, signing.Options{Observe: observe})
	list := append(many(500, 7), signing.Entry{Path: "z", Reason: "directory"})
	p := plan(t, e, list...)
	if planned != 501 || size != p.Counts().Bytes || size == 0 {
		t.Errorf("%d events, %d bytes, counted %d", planned, size, p.Counts().Bytes)
	}
	verdicts(t, e, source(list...), ring(k), nil)
	if checked != 501 {
		t.Errorf("%d events", checked)
	}
}

// strange returns an entry with a value in every field that the spool must keep.
func strange(i int, path string) signing.Entry {
	e := stated(path, ima.SHA512, path)
	e.Mode, e.UID, e.GID, e.Size, e.Token = os.ModeSetuid|0o711, 1<<32-1, 2, int64(i)<<32, []byte{0, 255}
	e.Xattrs = map[string][]byte{"security.\xff": {}, "security.nil": nil, "security.evm": {2}}
	if i%2 == 0 {
		e.Xattrs = nil
		e.HashOnly = true
	}
	return e
}

func TestSpoolKeepsEveryField(t *testing.T) {
	dir := t.TempDir()
	k := newKey(t)
	var list []signing.Entry
	pad := strings.Repeat("p", 4000)
	for i := range 600 { // about 2.5 MB; 1 MiB stays in memory
		list = append(list, strange(i, fmt.Sprintf("\xff\xfe/%04d/%s", i, pad)))
	}
	list = append(list, signing.Entry{Path: "z", Reason: "excluded by \xff*", Group: "\xfe"})
	p := plan(t, k.engine(t, signing.Options{SpoolDir: dir}), list...)
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the spool directory has %v, %v", names, err)
	}
	for range 2 {
		all := records(t, p)
		if len(all) != len(list) {
			t.Fatalf("%d records of %d", len(all), len(list))
		}
		for i, r := range all {
			want := list[i]
			want.Index = i
			same(t, r.Entry, want)
			if i < 600 && (r.Status() == signing.Hashed) != (i%2 == 0) {
				t.Fatalf("%d: status %s", i, r.Status())
			}
		}
	}
	for r, err := range p.Records() { // two listings at the same time, and one that ends early
		check(t, err)
		for q, err := range p.Records() {
			check(t, err)
			same(t, q.Entry, r.Entry)
			break
		}
		break
	}
	stripped, err := k.engine(t, signing.Options{SpoolDir: dir}).Strip(context.Background(), source(list...))
	check(t, err)
	defer stripped.Close()
	for i, r := range records(t, stripped) {
		value, there := r.ByXattr()[ima.XattrEVM]
		if want := i%2 == 1 && i < 600; there != want || value != nil || r.Pending() != want {
			t.Fatalf("%d: %v %x, pending %v", i, there, value, r.Pending())
		}
	}
}

func same(t *testing.T, got, want signing.Entry) {
	t.Helper()
	g, w := fmt.Sprintf("%#v", shown(got)), fmt.Sprintf("%#v", shown(want))
	if g != w {
		t.Fatalf("got\n%s\nwant\n%s", g, w)
	}
}

// shown returns an entry without its function, so that it can be printed.
func shown(e signing.Entry) signing.Entry {
	e.Open = nil
	return e
}

func TestFullSpoolDirectoryIsAClearError(t *testing.T) {
	list := []signing.Entry{}
	for range 60 { // 4 MB
		e := stated("f", ima.SHA256, "x")
		e.Token = make([]byte, 1<<16)
		list = append(list, e)
	}
	for dir, want := range map[string]string{
		smallFileSystem(t): "no space left on device",
		"/nowhere/at/all":  "no such file or directory",
	} {
		_, err := engine(t, signing.Options{SpoolDir: dir}).Plan(context.Background(), source(list...))
		if err == nil || !strings.Contains(err.Error(), "spool the plan in "+dir) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
}
