package rules

import (
	"sync"
	"time"
)

// Usage counts the digests that requesters sign, by rule and UTC day. The zero value has
// counted nothing. It is safe for concurrent use.
type Usage struct {
	mu    sync.Mutex
	spent map[counter]today
}

// counter is what a quota is for.
type counter struct{ rule, requester string }

// today is what was signed on a day. Days are counted from 1970-01-01 UTC.
type today struct{ day, digests int64 }

func dayOf(t time.Time) int64 {
	const seconds = 24 * 60 * 60
	return (t.Unix() - (t.Unix()%seconds+seconds)%seconds) / seconds
}

// Add counts digests that a requester signed under a rule at some time, as the log of an
// earlier process says. Only those of a counter's last day count.
func (u *Usage) Add(rule, requester string, at time.Time, digests int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, day := counter{rule, requester}, dayOf(at)
	if t := u.on(c, day); t.day == day && digests > 0 {
		u.set(c, today{day, t.digests + digests})
	}
}

// on returns what a counter has on a day. A clock that goes back does not reset it.
func (u *Usage) on(c counter, day int64) today {
	t, known := u.spent[c]
	if !known || t.day < day {
		return today{day: day}
	}
	return t
}

func (u *Usage) set(c counter, t today) {
	if u.spent == nil {
		u.spent = map[counter]today{}
	}
	u.spent[c] = t
}

// room reports whether digests are within the rule's quota, and how many are left.
func (u *Usage) room(r *Rule, requester string, now time.Time, digests int64) (left int64, enough bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return r.room(u.on(counter{r.Name, requester}, dayOf(now)), digests)
}

func (r *Rule) room(t today, digests int64) (left int64, enough bool) {
	left = max(0, r.Quota-t.digests) // a reload may have lowered the quota
	return left, r.Quota == 0 || digests <= left
}

// take counts digests unless they exceed the rule's quota. It then returns no function, and
// how many digests are left.
func (u *Usage) take(r *Rule, requester string, now time.Time, digests int64) (release func(), left int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := counter{r.Name, requester}
	t := u.on(c, dayOf(now))
	if left, enough := r.room(t, digests); !enough {
		return nil, left
	}
	u.set(c, today{t.day, t.digests + digests})
	return sync.OnceFunc(func() { u.giveBack(c, t.day, digests) }), 0
}

// giveBack counts digests of a day as not signed. On a later day there is nothing to give back.
func (u *Usage) giveBack(c counter, day, digests int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.spent[c]; t.day == day {
		u.set(c, today{day, max(0, t.digests-digests)})
	}
}
