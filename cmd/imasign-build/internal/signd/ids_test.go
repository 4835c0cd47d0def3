package signd

import (
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	m := newIDs(4, 3)
	now := time.Unix(1000, 0)
	add := func(requester, id string, until int64) protocol.Code {
		if refusal, _ := m.add([]byte(requester), []byte(id), time.Unix(until, 0), now); refusal != nil {
			return refusal.Code
		}
		return ""
	}
	expect := func(got, want protocol.Code) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(add("a", "1", 1300), "")
	expect(add("a", "1", 1300), protocol.Replayed)
	expect(add("b", "1", 1400), "")
	expect(add("a", "2", 1300), "")
	expect(add("a", "3", 1310), "")
	expect(add("a", "4", 1300), protocol.Busy) // too many of a requester
	expect(add("c", "1", 1300), protocol.Busy) // too many
	now = time.Unix(1300, 0)
	expect(add("a", "1", 1600), protocol.Replayed) // the request may still be taken
	now = time.Unix(1301, 0)
	expect(add("a", "4", 1600), "")
	expect(add("a", "5", 1600), "")
	expect(add("a", "6", 1600), protocol.Busy)
	expect(add("b", "1", 1600), protocol.Replayed)
	if m.count() != 4 {
		t.Errorf("%d ids", m.count())
	}
}

// TestIDsWhenTheClockIsSetBack checks that a request whose id was forgotten is not taken again, and that
// newer ones are once the clock is right.
func TestIDsWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	m := newIDs(10, 10)
	at := func(now, until int64, id string) (code protocol.Code, wait time.Duration) {
		refusal, wait := m.add([]byte("a"), []byte(id), time.Unix(until, 0), time.Unix(now, 0))
		if refusal != nil {
			code = refusal.Code
		}
		return code, wait
	}
	for _, c := range []struct {
		now, until int64
		id         string
		want       protocol.Code
		wait       time.Duration
	}{
		{1000, 1300, "1", "", 0},
		{2000, 2300, "2", "", 0}, // forgets the first
		{1000, 1300, "1", protocol.Busy, time.Second},
		{1000, 1290, "3", protocol.Busy, 11 * time.Second},
		{1001, 1301, "4", "", 0},
		{2000, 2300, "2", protocol.Replayed, 0},
	} {
		if code, wait := at(c.now, c.until, c.id); code != c.want || wait != c.wait {
			t.Errorf("id %s: got %q, %s, want %q, %s", c.id, code, wait, c.want, c.wait)
		}
	}
}

// TestRememberedIDsThatAreTooMany restarts a server whose log has more ids than it remembers: the newest are
// known, requests as old as the others are refused, and other requesters notice nothing.
func TestRememberedIDsThatAreTooMany(t *testing.T) {
	t.Parallel()
	m := newIDs(10, 3)
	now := time.Unix(5000, 0)
	for i, id := range []string{"1", "2", "3", "4", "5"} {
		m.remember([]byte("a"), []byte(id), now.Add(time.Duration(i)*time.Second), now)
	}
	add := func(requester, id string, seconds int) protocol.Code {
		refusal, _ := m.add([]byte(requester), []byte(id), now.Add(time.Duration(seconds)*time.Second), now)
		if refusal == nil {
			return ""
		}
		return refusal.Code
	}
	for _, c := range []struct {
		requester, id string
		seconds       int
		want          protocol.Code
	}{
		{"a", "1", 0, protocol.Busy}, {"a", "2", 1, protocol.Busy}, {"a", "3", 2, protocol.Replayed}, {"a", "5", 4, protocol.Replayed},
		{"b", "1", 0, ""}, {"b", "2", 1, ""},
	} {
		if got := add(c.requester, c.id, c.seconds); got != c.want {
			t.Errorf("%s, id %s: got %q, want %q", c.requester, c.id, got, c.want)
		}
	}
	now = now.Add(3 * time.Second)
	if got := add("a", "6", 300); got != "" {
		t.Errorf("got %q", got)
	}
	full := newIDs(2, 2)
	full.remember([]byte("b"), []byte("1"), now.Add(time.Minute), now)
	full.remember([]byte("b"), []byte("2"), now.Add(time.Minute), now)
	full.remember([]byte("a"), []byte("1"), now.Add(time.Second), now) // no place, and none of its own
	if refusal, wait := full.add([]byte("a"), []byte("1"), now.Add(time.Second), now); refusal == nil || wait != time.Second {
		t.Errorf("got %v, %s", refusal, wait)
	}
}

// TestRemember checks that a restarted server refuses what was taken before.
func TestRemember(t *testing.T) {
	t.Parallel()
	s := simple(t)
	r := s.ci.request(s.address, 1)
	s.Remember(r.Requester, r.ID, time.Now())
	_, err := s.ci.ask(t, r)
	refused(t, err, protocol.Replayed, "")
}
