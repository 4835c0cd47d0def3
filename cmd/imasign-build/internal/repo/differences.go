package repo

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// linked takes note that an item got another name, or lost one, which moves its
// ctime and nothing else.
func (s *survey) linked(rel string) {
	i := &s.items[s.index[rel]]
	for _, known := range []struct {
		state *state
		stat  func(string) (fs.FileInfo, error)
	}{{&i.state, os.Lstat}, {&i.led, os.Stat}} {
		info, err := known.stat(s.path(*i))
		if err != nil {
			continue // which the comparison finds
		}
		if now := stateOf(info); now.but() == known.state.but() {
			known.state.ctime = now.ctime
		}
	}
}

// written takes note that an item was written anew, by this run.
func (s *survey) written(rel string) {
	i := &s.items[s.index[rel]]
	if info, err := os.Lstat(s.path(*i)); err == nil {
		i.state = stateOf(info)
	}
	if i.led == (state{}) {
		return
	}
	if info, err := os.Stat(s.path(*i)); err == nil {
		i.led = stateOf(info)
	}
}

// but is the state without its ctime.
func (s state) but() state {
	s.ctime = unix.Timespec{}
	return s
}

// differences says how now differs from s. Of metadata ctimes do not count: names
// of theirs come and go in the signed repository.
func (s *survey) differences(now *survey) []string {
	var list []string
	for _, i := range s.items {
		j, there := now.find(i.rel)
		switch {
		case !there:
			list = append(list, i.rel+" was removed")
		case !i.same(j):
			list = append(list, i.rel+" was changed")
		}
	}
	for _, j := range now.items {
		if _, there := s.find(j.rel); !there {
			list = append(list, j.rel+" was added")
		}
	}
	slices.Sort(list)
	return list
}

func (i item) same(j item) bool {
	if filepath.Base(filepath.Dir(i.rel)) == metadataDir {
		i.state, i.led, j.state, j.led = i.state.but(), i.led.but(), j.state.but(), j.led.but()
	}
	return i.kind == j.kind && i.text == j.text && i.state == j.state && i.led == j.led
}

// some joins the first of a list, and says how many more there are.
func some(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
