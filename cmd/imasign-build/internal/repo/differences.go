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

// linked records that this run added or removed a hard link to an item, which changes only
// its ctime.
func (s *survey) linked(rel string) {
	i := &s.items[s.index[rel]]
	for _, known := range []struct {
		state *state
		stat  func(string) (fs.FileInfo, error)
	}{{&i.state, os.Lstat}, {&i.led, os.Stat}} {
		info, err := known.stat(s.path(*i))
		if err != nil {
			continue // differences finds it
		}
		if now := stateOf(info); now.but() == known.state.but() {
			known.state.ctime = now.ctime
		}
	}
}

// written records that this run wrote an item.
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

// but returns the state without its ctime.
func (s state) but() state {
	s.ctime = unix.Timespec{}
	return s
}

// differences says how now differs from s. It ignores the ctime of metadata files, because
// the signed repository gets and loses hard links to them.
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

// some joins the first items of a list and says how many more there are.
func some(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
