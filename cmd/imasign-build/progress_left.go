package main

import (
	"fmt"
	"time"
)

const (
	// leftAfter is how long a step must run before the time left is estimated.
	leftAfter = 3 * time.Second
	// leftWindow is the recent time whose rate counts.
	leftWindow = 10 * time.Second
	// leftStalled is how long nothing may have moved: after that nobody knows.
	leftStalled = 4 * time.Second
	// leftMost is the longest estimate that means anything.
	leftMost = 100 * time.Hour
)

// estimate predicts the end of a step from the share of it that is done.
type estimate struct {
	began   time.Time
	moved   time.Time // when the share last grew
	samples []sample  // of the window, oldest first
}

type sample struct {
	at   time.Time
	done float64 // 0 to 1
}

// add notes the share at a time; samples come in order.
func (e *estimate) add(now time.Time, done float64) {
	if len(e.samples) == 0 {
		e.began, e.moved = now, now
	} else if last := e.samples[len(e.samples)-1]; done > last.done {
		e.moved = now
	} else if done < last.done { // the total grew: earlier shares were of less
		*e = estimate{began: e.began, moved: now}
	}
	e.samples = append(e.samples, sample{now, done})
	for len(e.samples) > 2 && now.Sub(e.samples[1].at) >= leftWindow {
		e.samples = e.samples[1:]
	}
}

// left returns the time that is left, false if nobody can know.
func (e *estimate) left() (time.Duration, bool) {
	if len(e.samples) < 2 {
		return 0, false
	}
	first, last := e.samples[0], e.samples[len(e.samples)-1]
	window, done := last.at.Sub(first.at), last.done-first.done
	if window < leftAfter || done <= 0 || last.done >= 1 || last.at.Sub(e.moved) >= leftStalled {
		return 0, false
	}
	left := (1 - last.done) / done * window.Seconds()
	if left > leftMost.Seconds() {
		return 0, false
	}
	return time.Duration(left * float64(time.Second)), true
}

// clock writes a duration as m:ss or h:mm:ss, rounded up: what is left is never 0:00.
func clock(d time.Duration) string {
	seconds := int64((d + time.Second - 1) / time.Second)
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
