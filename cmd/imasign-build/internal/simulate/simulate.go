// Package simulate tries an IMA policy on a tree: which files each of its rules would
// appraise, and which of them the kernel would refuse.
//
// Package policy decides which files a rule covers. The engine of pkg/signing digests the
// files and decides whether a signature is valid. A [Tree] walks and opens files. This
// package knows what the kernel, the dynamic loader and modprobe do with a file, and what
// that means for the device. Printing is left to the caller.
package simulate

import (
	"cmp"
	"context"
	"io/fs"
	"slices"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Device is the device for which a policy is tried. Processes are root's, and appraisal is enforced.
type Device struct {
	Kernel  kernel.Profile
	Trusted *ima.Keyring // what the .ima keyring will have
	EVM     *ima.Keyring // what the .evm keyring will have; nil if EVM is not enabled
	// EVMVersion3 says that EVM demands version 3 signatures: bit 3 of securityfs's evm is set.
	EVMVersion3 bool
	// Verity are the parameters with which fs-verity is enabled; nil for the usual ones.
	Verity *manifest.Verity
	// FSName is the type of the file system that the tree will be on, as in /proc/filesystems.
	// "" means that of each file (Node.FSName).
	FSName string
}

// Result is what appraisal would say.
type Result struct {
	Rules   []Tally
	Refused []Refusal // by path, then by rule
	Unknown []string  // what could not be judged of this policy and tree, a sentence each
	Limits  []string  // what never is, a sentence each
	Files   int       // how many regular files the tree has
}

// Tally counts the files that an appraise rule decides about.
type Tally struct {
	Rule     *policy.Rule
	Passed   int // files that it lets pass
	Refused  int // files that it refuses
	Possible int // files that it refuses in a case that is not known here
}

// Refusal is a file that would be refused.
type Refusal struct {
	Path     string
	Func     policy.Func // when
	Line     int         // of the rule
	Reason   string      // why, with Cause
	Cause    string      // cause= of the kernel's audit record; "" if it writes none
	Certain  bool        // not only in a case that is not known here
	Boot     bool        // init, the shell or modprobe needs it: without it the device does not boot
	NeededBy string      // a program that loads it; "" if none was found
}

// Wrong reports whether a refusal is certain.
func (r *Result) Wrong() bool {
	return slices.ContainsFunc(r.Refused, func(v Refusal) bool { return v.Certain })
}

// subject is one file or symbolic link, with everything found out about it.
type subject struct {
	node     Node
	link     string // of a symbolic link
	kind     kind
	verdicts []verdict
	evm      bool // has a security.evm
	covered  bool // has a digest that a signature in security.evm covers
}

// verdict is what one rule decides about a file.
type verdict struct {
	rule    *policy.Rule
	hook    policy.Func
	refusal refusal
	certain bool // the rule certainly decides about the file, and so
}

// simulation is one run.
type simulation struct {
	Device

	tree     Tree
	rules    []*policy.Rule
	subjects []*subject // by path
	files    int        // regular ones among them
	mounts   int        // mount points that were not entered
	assumed  []string   // what the kernel must have, each once
}

// Run tries the rules, as [policy.Target.Rules] returns them, on every regular file of
// a tree. A file is executed if it has an execute bit, mapped if it is an ELF program or
// shared object, loaded if it is a module or firmware, and opened for reading. A file
// that cannot be read is an error. The engine needs no key. It determines how many files
// are read at a time.
func (d Device) Run(ctx context.Context, engine *signing.Engine, t Tree, rules []*policy.Rule) (*Result, error) {
	s := &simulation{Device: d, tree: t, rules: rules}
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	if err := s.judgeAll(ctx, engine); err != nil {
		return nil, err
	}
	r := &Result{Files: s.files}
	r.tally(rules, s.subjects)
	l := newLinker(s.subjects)
	r.refusals(s.subjects, l)
	r.unknown(s, l)
	return r, nil
}

// list walks the tree.
func (s *simulation) list(ctx context.Context) error {
	for node, err := range s.tree.Walk(ctx) {
		if err != nil {
			return err
		}
		sub := &subject{node: node}
		switch {
		case node.MountPoint:
			s.mounts++
			continue
		case node.Mode.IsRegular():
			s.files++
		case node.Mode&fs.ModeSymlink == 0:
			continue
		default:
			if sub.link, err = node.Readlink(); err != nil {
				return err
			}
		}
		s.subjects = append(s.subjects, sub)
	}
	return nil
}

// asked returns the appraise rules that a file meets, each once.
func (s *simulation) asked(sub *subject) []verdict {
	var list []verdict
	for _, a := range sub.kind.accesses(s.Kernel.Version) {
		a.FOwner, a.FGroup, a.FSName = sub.node.UID, sub.node.GID, cmp.Or(s.FSName, sub.node.FSName)
		certain := true
	rules:
		for _, r := range s.rules {
			if r.Action.Class() != policy.Appraise {
				continue
			}
			answer := r.Matches(a)
			if answer == policy.No {
				continue
			}
			certain = certain && answer == policy.Yes
			if r.Action == policy.Appraise {
				list = join(list, verdict{rule: r, hook: a.Func, certain: certain})
			}
			if answer == policy.Yes {
				break rules
			}
		}
	}
	return list
}

// join adds a verdict. If the list has one of the same rule, join only makes that one
// certain if v is certain.
func join(list []verdict, v verdict) []verdict {
	for i := range list {
		if list[i].rule == v.rule {
			list[i].certain = list[i].certain || v.certain
			return list
		}
	}
	return append(list, v)
}
