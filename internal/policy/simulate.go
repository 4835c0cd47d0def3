package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Simulation is a device on which a policy is tried: processes are root's, and
// appraisal is enforced.
type Simulation struct {
	Kernel  Kernel
	Keyring *ima.Keyring // what the .ima keyring will have
	FSName  string       // of the file system that the tree will be on, as in /proc/filesystems; "" if it is not known
	Jobs    int          // files to work on at a time; 0 for one a core
}

// Result is what appraisal would say.
type Result struct {
	Rules   []Tally
	Refused []Verdict // by path, then by rule
	Unknown []string  // what could not be judged, a sentence each
	Files   int       // how many regular files the tree has
}

// Tally counts the files that an appraise rule decides about.
type Tally struct {
	Rule     *Rule
	Passed   int // files that it lets pass
	Refused  int // files that it refuses
	Possible int // files that it refuses in a case that is not known here
}

// Verdict is a file that would be refused.
type Verdict struct {
	Path     string
	Func     Func // when
	Line     int  // of the rule
	Reason   string
	Certain  bool   // not only in a case that is not known here
	Boot     bool   // what init, the shell, or modprobe is made of: the device does not come up
	NeededBy string // a program that loads it; "" if none was found
}

// Wrong reports whether a refusal is certain.
func (r *Result) Wrong() bool {
	return slices.ContainsFunc(r.Refused, func(v Verdict) bool { return v.Certain })
}

// subject is one file, with all that was found out about it.
type subject struct {
	node     tree.Node
	link     string // of a symbolic link
	kind     kind
	found    found
	verdicts []verdict
	evm      bool
}

// verdict is one rule's word on a file.
type verdict struct {
	rule    *Rule
	hook    Func
	reason  string // "" if the file passes
	certain bool
}

// Run tries the rules, as [Kernel.Rules] returns them, on every regular file of
// a tree: it is executed if it has an execute bit, mapped if it is an ELF program or
// shared object, loaded if it is a module or firmware, and opened for reading. A file
// that cannot be read is an error.
func (s Simulation) Run(ctx context.Context, t *tree.Tree, rules []*Rule) (*Result, error) {
	var subjects []*subject
	mounts, files := 0, 0
	for node, err := range t.Walk(ctx) {
		if err != nil {
			return nil, err
		}
		if node.MountPoint {
			mounts++
			continue
		}
		if node.Mode.IsRegular() {
			files++
		}
		if node.Mode.IsRegular() || node.Mode&fs.ModeSymlink != 0 {
			subjects = append(subjects, &subject{node: node})
		}
	}
	if err := s.examineAll(ctx, t, rules, subjects); err != nil {
		return nil, err
	}
	r := &Result{Files: files}
	r.tally(rules, subjects)
	l := newLinker(subjects)
	r.refusals(subjects, l)
	r.unknown(s, rules, subjects, l, mounts)
	return r, nil
}

func (s Simulation) examineAll(ctx context.Context, t *tree.Tree, rules []*Rule, subjects []*subject) error {
	jobs := s.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for _, sub := range subjects {
		if group.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := s.examine(group, t, rules, sub); err != nil {
				return fmt.Errorf("simulate %s: %w", t.Name(sub.node.Path), err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), context.Cause(ctx))
}

// examine reads one file: what it is, and where a rule asks for it, its content and
// security.ima.
func (s Simulation) examine(ctx context.Context, t *tree.Tree, rules []*Rule, sub *subject) (err error) {
	if sub.node.Mode&fs.ModeSymlink != 0 {
		sub.link, err = t.Readlink(sub.node)
		return err
	}
	f, err := t.Open(sub.node.Path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	stamp, err := tree.StampOf(f)
	if err == nil {
		err = sub.node.Stamp.Check(stamp)
	}
	if err != nil {
		return err
	}
	if sub.kind, err = kindOf(f, &sub.node); err != nil {
		return err
	}
	asked := s.asked(rules, sub)
	if len(asked) == 0 {
		return nil
	}
	xattrs, err := t.FileXattrs(f, sub.node.Path, "security.")
	if err != nil {
		return err
	}
	_, sub.evm = xattrs[ima.XattrEVM]
	if sub.found, err = s.verify(ctx, f, xattrs[ima.XattrIMA], sub.node.Size); err != nil {
		return err
	}
	for _, v := range asked {
		reason, certain := s.refusal(v.rule, v.hook, sub)
		v.certain = v.certain && certain
		v.reason = reason
		sub.verdicts = append(sub.verdicts, v)
	}
	return nil
}

// asked returns the appraise rules that a file meets, each once.
func (s Simulation) asked(rules []*Rule, sub *subject) []verdict {
	var list []verdict
	for _, m := range sub.kind.moments(s.Kernel) {
		certain := true
	rules:
		for _, r := range rules {
			if r.Action.class() != Appraise {
				continue
			}
			answer := s.matches(r, m, &sub.node)
			if answer == no {
				continue
			}
			certain = certain && answer == yes
			if r.Action == Appraise {
				list = join(list, verdict{rule: r, hook: m.hook, certain: certain})
			}
			if answer == yes {
				break rules
			}
		}
	}
	return list
}

// join adds a verdict, unless its rule was met before. What is certain counts more.
func join(list []verdict, v verdict) []verdict {
	for i := range list {
		if list[i].rule == v.rule {
			list[i].certain = list[i].certain || v.certain
			return list
		}
	}
	return append(list, v)
}

// answer is whether a rule matches, as far as that can be known here.
type answer int

const (
	no answer = iota
	maybe
	yes
)

func (s Simulation) matches(r *Rule, m moment, n *tree.Node) answer {
	when := r.moments()
	if when&momentsOf(func(o moment) bool { return o == m }) == 0 || !r.UID.has(0) || !r.GID.has(0) ||
		!r.FOwner.has(n.UID) || !r.FGroup.has(n.GID) {
		return no
	}
	on := s.onFileSystem(r)
	if on == yes && (len(r.Labels) > 0 || r.FSUUID != nil) {
		return maybe
	}
	return on
}

// onFileSystem says whether the tree will be on the file system that a rule is about.
func (s Simulation) onFileSystem(r *Rule) answer {
	if r.FSName == "" && r.FSMagic == nil {
		return yes
	}
	all, _ := pseudo()
	if s.FSName == "" {
		for _, f := range all {
			if f.names(r) {
				return no // a tree of files with signatures is on a disk
			}
		}
		return maybe
	}
	if r.FSName != "" && r.FSName != s.FSName {
		return no
	}
	if r.FSMagic == nil {
		return yes
	}
	for _, f := range slices.Concat(all, readOnly(), writable()) {
		if f.name == s.FSName {
			if f.magic == *r.FSMagic {
				return yes
			}
			return no
		}
	}
	return maybe
}

// writable lists common file systems of disks.
func writable() []fileSystem {
	return []fileSystem{{"ext2", 0xef53}, {"ext3", 0xef53}, {"ext4", 0xef53}, {"xfs", 0x58465342}, {"btrfs", 0x9123683e}, {"f2fs", 0xf2f52010}, {"ubifs", 0x24051905}, {"jffs2", 0x72b6}, {"overlay", 0x794c7630}}
}
