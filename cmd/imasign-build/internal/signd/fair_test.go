package signd

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// TestTurns has one requester fill a queue: another one still gets its batches in, and signed in turn.
// What the first one adds is refused, until its share is free.
func TestTurns(t *testing.T) {
	t.Parallel()
	r := &recording{gate: make(chan struct{})}
	q := queue{sign: r.sign, workers: 1, chunk: 100, cost: 2 * time.Millisecond}
	ended := make(chan string, 100)
	do := func(who string, n int) *protocol.RefusedError {
		refusal, wait := q.admit(who, n)
		if refusal != nil {
			if wait <= maxWait {
				t.Errorf("%v, but wait only %s", refusal, wait)
			}
			return refusal
		}
		go func() {
			_, err := q.do(t.Context(), who, ima.ContentSignature(), ima.SHA256, numbers(n))
			if err != nil {
				t.Error(err)
			}
			ended <- who
		}()
		eventually(t, func() bool { // nothing ends yet
			q.mu.Lock()
			defer q.mu.Unlock()
			return len(q.each[who].batches) == q.each[who].pending
		})
		return nil
	}
	alone := 0
	for ; alone < 50 && do("greedy", 100) == nil; alone++ {
	}
	if alone < 11 || alone > 13 { // two seconds of work
		t.Fatalf("%d batches of 100 digests are in the queue", alone)
	}
	for range 3 {
		if refusal := do("other", 100); refusal != nil {
			t.Errorf("a requester fills the queue for others: %v", refusal)
		}
		refused(t, do("greedy", 100), protocol.Busy, "requester greedy")
	}
	var order []string
	for range alone + 3 { // each batch is one call
		r.gate <- struct{}{}
		order = append(order, <-ended)
	}
	last := 0
	for i, who := range order {
		if who == "other" {
			last = i
		}
	}
	if last > 6 {
		t.Errorf("batches ended in the order %v", order)
	}
	if len(q.each) != 0 || len(q.turns) != 0 {
		t.Errorf("%d requesters are left", len(q.each))
	}
}

// TestShares checks that what a requester may have in a queue shrinks when another one comes.
func TestShares(t *testing.T) {
	t.Parallel()
	q := queue{workers: 1, cost: 2 * time.Millisecond, each: map[string]*share{"a": {waiting: 600, pending: 1}}, waiting: 600}
	if refusal, _ := q.full("a"); refusal != nil {
		t.Errorf("alone: %v", refusal)
	}
	q.each["b"], q.waiting = &share{waiting: 600, pending: 1}, 1200
	refusal, _ := q.full("a")
	refused(t, refusal, protocol.Busy, "requester a")
}

// TestUnreadAnswers has a client that leaves no memory for more answers: it is busy, and others are not.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	s := simple(t)
	other := s.authority.client(t, s.address)
	s.SetPolicy(s.policyOf(t, s.ci.requester("ci"), other.requester("other")))
	release, ok := s.answers.take(SPKI(other.cert.Leaf), maxAnswers/2)
	if !ok {
		t.Fatal("no memory")
	}
	_, err := other.ask(t, other.request(s.address, 1))
	refused(t, err, protocol.Busy, "answers")
	_, err = s.ci.ask(t, s.ci.request(s.address, 1024))
	check(t, err)
	release()
	_, err = other.ask(t, other.request(s.address, 1))
	check(t, err)
	eventually(t, func() bool { s.answers.mu.Lock(); defer s.answers.mu.Unlock(); return s.answers.total == 0 })
	if n := s.key.meter.signatures.Load(); n != 1025 {
		t.Errorf("%d signatures", n)
	}
}

// TestBudget checks that whoever comes gets something, and what the four largest answers of a client need.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := newBudget(1 << 20)
	for i := range 6 {
		spki := sha256.Sum256([]byte{byte(i)})
		n := 0
		for ; n < 1000; n++ {
			if _, ok := b.take(spki, 4096); !ok {
				break
			}
		}
		if want := 128 >> i; n != want {
			t.Errorf("client %d gets %d places, want %d", i, n, want)
		}
	}
	answers := newBudget(maxAnswers)
	for i := range 4 {
		if _, ok := answers.take([32]byte{}, 1024*(4627+32+48+100)+16<<10); !ok {
			t.Errorf("answer %d has no place", i+1)
		}
	}
}

// TestLinesAreBounded has a log that cannot be written while many requests come: a few lines say so, and one
// how many more there were.
func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	s := simple(t)
	s.log.fail(errors.New("no space left on device"), nil)
	const n = 25
	for range n {
		_, err := s.ci.ask(t, s.ci.request(s.address, 1))
		refused(t, err, protocol.LogFailed, "")
	}
	s.log.fail(nil, nil)
	s.records.flush(t.Context(), time.Time{})
	text := s.noted()
	if got := strings.Count(text, "the log cannot be written, so"); got != maxEvents+1 || !strings.Contains(text, "15 more failures of the log; the last one: ") {
		t.Errorf("%d lines about the log:\n%s", got, text)
	}
	if got := strings.Count(text, "the log lacks a refusal"); got > maxEvents+1 {
		t.Errorf("%d lines about records:\n%s", got, text)
	}
}
