package simulate

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// linker finds out which files load which.
type linker struct {
	byPath   map[string]*subject
	bySoname map[string][]*subject // names of shared objects, those of links to them included
	neededBy map[*subject]string
	absent   map[string]bool
}

func newLinker(subjects []*subject) *linker {
	l := &linker{byPath: map[string]*subject{}, bySoname: map[string][]*subject{}, neededBy: map[*subject]string{}, absent: map[string]bool{}}
	for _, sub := range subjects {
		l.byPath[sub.node.Path] = sub
	}
	for _, sub := range subjects {
		if base := path.Base(sub.node.Path); strings.Contains(base, ".so") {
			if target := l.resolve(sub.node.Path); target != nil && target.kind.mapped {
				l.bySoname[base] = append(l.bySoname[base], target)
			}
		}
	}
	for _, sub := range subjects {
		for _, other := range l.loads(sub) {
			if l.neededBy[other] == "" {
				l.neededBy[other] = sub.node.Path
			}
		}
	}
	return l
}

// resolve follows symbolic links as the kernel does on the device, where the tree is
// the root.
func (l *linker) resolve(name string) *subject {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at := ""
	for followed := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		sub := l.byPath[next]
		switch {
		case sub == nil, sub.node.Mode&fs.ModeSymlink == 0:
			at = next // a directory, or a file
		case followed == 40:
			return nil
		default:
			followed++
			target := path.Join("/", at, sub.link)
			if path.IsAbs(sub.link) {
				target = path.Clean(sub.link)
			}
			rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
			at = ""
		}
	}
	if sub := l.byPath[at]; sub != nil && sub.node.Mode.IsRegular() {
		return sub
	}
	return nil
}

// loads returns the files that are loaded with a file: its interpreter and shared objects.
func (l *linker) loads(sub *subject) []*subject {
	var list []*subject
	if name := sub.kind.interp; name != "" {
		if other := l.resolve(name); other != nil {
			list = append(list, other)
		} else {
			l.absent[fmt.Sprintf("%s, the interpreter of %s,", name, sub.node.Path)] = true
		}
	}
	for _, name := range sub.kind.needed {
		found := l.shared(sub, name)
		if found == nil {
			l.absent[fmt.Sprintf("%s, which %s needs,", name, sub.node.Path)] = true
		}
		list = append(list, found...)
	}
	return list
}

// shared finds a shared object: in the directories that the file names, otherwise by its
// name anywhere. If several match, shared returns all.
func (l *linker) shared(sub *subject, name string) []*subject {
	if strings.Contains(name, "/") {
		if other := l.resolve(name); other != nil {
			return []*subject{other}
		}
		return nil
	}
	origin := "/" + path.Dir(sub.node.Path)
	for _, dir := range sub.kind.runpath {
		dir = strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin).Replace(dir)
		if other := l.resolve(path.Join(dir, name)); other != nil {
			return []*subject{other}
		}
	}
	return l.bySoname[name]
}

// boot returns the files without which the device does not boot: init, the
// shell, modprobe, and everything that they load.
func (l *linker) boot() map[*subject]bool {
	seen := map[*subject]bool{}
	var add func(*subject)
	add = func(sub *subject) {
		if sub == nil || seen[sub] {
			return
		}
		seen[sub] = true
		for _, other := range l.loads(sub) {
			add(other)
		}
	}
	for _, start := range []string{"init", "sbin/init", "etc/init", "bin/init", "bin/sh", "sbin/modprobe", "lib/systemd/systemd"} {
		add(l.resolve(start))
	}
	return seen
}

// missing returns the first few names of files that are loaded but missing.
func (l *linker) missing() []string {
	var names []string
	for name := range l.absent {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 20 {
		names = append(names[:20:20], fmt.Sprintf("what %d further files load", len(names)-20))
	}
	return names
}
