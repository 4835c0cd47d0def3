package rules_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// noon is the time of the requests in the tests.
var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// request asks for signatures of n digests by the key image.
func request(n int) *protocol.Request {
	r := &protocol.Request{
		Version: protocol.Version, Audience: "localhost:7443", Key: "image", Requester: make([]byte, 32), ID: make([]byte, protocol.IDSize),
		Type: 3, Signature: 2, Hash: uint8(ima.SHA256),
	}
	for i := range n {
		sum := sha256.Sum256(fmt.Append(nil, i))
		r.Digests = append(r.Digests, sum[:]...)
	}
	return r
}

// image allows ci version 2 signatures with the key image.
func image(change func(*rules.Rule)) rules.Rule {
	r := rules.Rule{Name: "images", Keys: []string{"image"}, Requesters: []string{"ci"}, Forms: []ima.Form{ima.ContentSignature()}}
	if change != nil {
		change(&r)
	}
	return r
}

func newSet(t *testing.T, usage *rules.Usage, list ...rules.Rule) *rules.Set {
	t.Helper()
	s, err := rules.New(list, usage)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused checks that an error is a refusal with a code and words.
func refused(t *testing.T, err error, code protocol.Code, words string) {
	t.Helper()
	var r *protocol.RefusedError
	if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Message, words) {
		t.Errorf("got %v, want %s with %q", err, code, words)
	}
}

func TestRefusals(t *testing.T) {
	limited := image(func(r *rules.Rule) {
		r.Name, r.Hashes, r.Batch, r.Quota = "limited", []ima.HashID{ima.SHA256}, 10, 25
	})
	for name, c := range map[string]struct {
		requester string
		change    func(*protocol.Request)
		code      protocol.Code
		words     string
	}{
		"another requester": {"dev", nil, protocol.NoRule, "no rule lets dev sign with the key image"},
		"another key":       {"ci", func(r *protocol.Request) { r.Key = "other" }, protocol.NoRule, "no rule lets ci sign with the key other"},
		"hash": {"ci", func(r *protocol.Request) { r.Hash, r.Digests = uint8(ima.SHA512), make([]byte, 64) },
			protocol.NoRule, "rule limited: it does not allow digests by sha512"},
		"a hash for no signature": {"ci", func(r *protocol.Request) { r.Hash, r.Digests = uint8(ima.SHA1), make([]byte, 20) },
			protocol.NoRule, "rule limited: "},
		"version": {"ci", func(r *protocol.Request) { r.Signature = 3 },
			protocol.NoRule, "rule limited: it does not allow signatures of version 3 over the content in security.ima"},
		"EVM": {"ci", func(r *protocol.Request) { r.Type = uint8(ima.TypeEVMPortable) },
			protocol.NoRule, "rule limited: it does not allow signatures of version 2 over the metadata in security.evm"},
		"batch":   {"ci", func(r *protocol.Request) { *r = *request(11) }, protocol.TooLarge, "rule limited: a request has 11 digests, it allows 10"},
		"no form": {"ci", func(r *protocol.Request) { r.Type = 9 }, protocol.Malformed, "no values of type"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(2)
			if c.change != nil {
				c.change(r)
			}
			_, err := newSet(t, new(rules.Usage), limited).Judge(t.Context(), r, c.requester, nil, noon)
			refused(t, err, c.code, c.words)
		})
	}
}

func TestQuotaEndsWithTheDay(t *testing.T) {
	usage := new(rules.Usage)
	rule := image(func(r *rules.Rule) { r.Quota, r.Requesters = 25, []string{"ci", "other"} })
	s := newSet(t, usage, rule)
	judge := func(s *rules.Set, requester string, n int, at time.Time) (rules.Grant, error) {
		return s.Judge(t.Context(), request(n), requester, nil, at)
	}
	grant, err := judge(s, "ci", 20, noon)
	if err != nil || grant.Rule != "images" || grant.Manifests != nil {
		t.Fatalf("got %+v, %v", grant, err)
	}
	_, err = judge(s, "ci", 6, noon)
	refused(t, err, protocol.Quota, "rule images: ci has 5 of 25 digests left until midnight UTC, and asks for 6")
	if _, err := judge(s, "other", 25, noon); err != nil {
		t.Errorf("the quota of another requester: %v", err)
	}
	after := newSet(t, usage, rule) // a reload
	_, err = judge(after, "ci", 6, noon)
	refused(t, err, protocol.Quota, "5 of 25")
	grant.Release()
	grant.Release() // once is enough
	last, err := judge(after, "ci", 25, noon)
	if err != nil {
		t.Errorf("after the quota was given back: %v", err)
	}
	rule.Quota = 10
	_, err = judge(newSet(t, usage, rule), "ci", 1, noon)
	refused(t, err, protocol.Quota, "0 of 10")
	midnight := noon.Truncate(24 * time.Hour).Add(24 * time.Hour)
	_, err = judge(after, "ci", 1, midnight.Add(-time.Second))
	refused(t, err, protocol.Quota, "0 of 25")
	if _, err := judge(after, "ci", 25, midnight); err != nil {
		t.Errorf("on the next day: %v", err)
	}
	last.Release() // of the day before
	_, err = judge(after, "ci", 1, midnight)
	refused(t, err, protocol.Quota, "0 of 25")
	_, err = judge(after, "ci", 1, noon) // the clock went back
	refused(t, err, protocol.Quota, "0 of 25")
}

func TestUsageOfAnEarlierProcess(t *testing.T) {
	usage := new(rules.Usage)
	usage.Add("images", "ci", noon.Add(-24*time.Hour), 1000)
	usage.Add("images", "ci", noon.Add(-time.Hour), 15)
	usage.Add("images", "ci", noon.Add(-24*time.Hour), 1000)
	usage.Add("images", "ci", noon, 5)
	usage.Add("images", "ci", noon, -100)
	usage.Add("other", "ci", noon, 25)
	s := newSet(t, usage, image(func(r *rules.Rule) { r.Quota = 25 }))
	_, err := s.Judge(t.Context(), request(6), "ci", nil, noon)
	refused(t, err, protocol.Quota, "5 of 25")
}

func TestQuotaIsNeverExceeded(t *testing.T) {
	usage := new(rules.Usage)
	rule := image(func(r *rules.Rule) { r.Quota = 1000 })
	var signed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, _ := rules.New([]rules.Rule{rule}, usage)
			for i := range 100 {
				grant, err := s.Judge(context.Background(), request(7), "ci", nil, noon)
				switch {
				case err != nil:
				case i%3 == 0:
					grant.Release()
				default:
					signed.Add(7)
				}
			}
		})
	}
	all.Wait()
	if n := signed.Load(); n > 1000 || n < 900 {
		t.Errorf("%d digests with a quota of 1000", n)
	}
}

func TestTheFirstRuleThatGrants(t *testing.T) {
	small := image(func(r *rules.Rule) { r.Name, r.Quota = "small", 5 })
	large := image(func(r *rules.Rule) { r.Name, r.Batch = "large", 50 })
	s := newSet(t, new(rules.Usage), image(func(r *rules.Rule) { r.Name, r.Requesters = "others", []string{"x"} }), small, large)
	for i, want := range []string{"small", "small", "large", "large"} {
		grant, err := s.Judge(t.Context(), request(2), "ci", nil, noon)
		if err != nil || grant.Rule != want {
			t.Errorf("request %d: got %q, %v; want %q", i, grant.Rule, err, want)
		}
	}
	_, err := s.Judge(t.Context(), request(51), "ci", nil, noon)
	refused(t, err, protocol.Quota, "rule small") // it came further than in the rule large
}

func TestJudgingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newSet(t, new(rules.Usage), image(nil)).Judge(ctx, request(1), "ci", nil, noon)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	for words, change := range map[string]func(*rules.Rule){
		"its name must have":                   func(r *rules.Rule) { r.Name = "a\nb" },
		"it names no key":                      func(r *rules.Rule) { r.Keys = nil },
		"it names no requester":                func(r *rules.Rule) { r.Requesters = nil },
		`requester "a" is empty or repeated`:   func(r *rules.Rule) { r.Requesters = []string{"a", "b", "a"} },
		`key "" is empty or repeated`:          func(r *rules.Rule) { r.Keys = []string{""} },
		"batch 1025: must be 1 to 1024":        func(r *rules.Rule) { r.Batch = 1025 },
		"quota -1: must not be negative":       func(r *rules.Rule) { r.Quota = -1 },
		"sha1":                                 func(r *rules.Rule) { r.Hashes = []ima.HashID{ima.SHA1} },
		"it names no form":                     func(r *rules.Rule) { r.Forms = nil },
		"no signatures have the form":          func(r *rules.Rule) { r.Forms = []ima.Form{ima.ContentDigest()} },
		"another rule has the same name":       nil,
		"its name must have 1 to 255 letters,": func(r *rules.Rule) { r.Name = string(bytes.Repeat([]byte("a"), 256)) },
	} {
		_, err := rules.New([]rules.Rule{image(nil), image(change)}, new(rules.Usage))
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}
