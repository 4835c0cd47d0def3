package main

import (
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
)

// TestNoMoreIsDoneThanThereIs: packages and layers take turns, some being digested while
// others get their signatures.
func TestNoMoreIsDoneThanThereIs(t *testing.T) {
	for _, c := range []struct {
		events    []signing.Event
		text, bar string
	}{
		{nil, "digested 0 entries, 0 bytes", ""},
		{[]signing.Event{{Kind: signing.Planned, Entries: 1, Bytes: 2000}}, "digested 1 entries, 2.0 kB", ""},
		{[]signing.Event{
			{Kind: signing.Planned, Entries: 309}, {Kind: signing.Attaching, Entries: 300}, {Kind: signing.Attached, Entries: 75},
		}, "attached 75 of 300 entries", " [=====                ]"},
		{[]signing.Event{
			{Kind: signing.Planned, Entries: 2500}, {Kind: signing.Attaching, Entries: 2500}, {Kind: signing.Planned, Entries: 309},
			{Kind: signing.Attaching, Entries: 309}, {Kind: signing.Attached, Entries: 2500}, {Kind: signing.Planned, Entries: 215},
		}, "digested 3,024 entries, 0 bytes; attached 2,500 of 2,809 entries", ""},
		{[]signing.Event{{Kind: signing.Attaching}, {Kind: signing.Attached, Entries: 3, Bytes: 5}}, "attached 3 entries, 5 bytes", ""},
		{[]signing.Event{
			{Kind: signing.Attaching, Entries: 9}, {Kind: signing.Attached, Entries: 4}, {Kind: signing.Restoring, Entries: 4}, {Kind: signing.Restored, Entries: 4},
		}, "restored 4 of 4 entries", " [=====================]"},
	} {
		p := tally{verb: "digested"}
		for _, e := range c.events {
			p.take(e)
		}
		if p.String() != c.text || p.bar() != c.bar {
			t.Errorf("%q %q, want %q %q", p.String(), p.bar(), c.text, c.bar)
		}
	}
}
