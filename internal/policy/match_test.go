package policy

import "testing"

func TestMatches(t *testing.T) {
	opened := Access{Func: FileCheck, Mask: MayRead, FOwner: 7}
	run := Access{Func: BprmCheck, Mask: MayExec, FSName: "ext4"}
	for _, c := range []struct {
		rule   string
		access Access
		want   Answer
	}{
		{"measure", opened, Yes},
		{"measure", run, Yes},
		{"measure func=FILE_CHECK", run, No},
		{"measure mask=MAY_READ", run, No},
		{"measure mask=^MAY_READ", opened, Yes},
		{"measure euid=5", opened, No},
		{"measure gid>0", opened, No},
		{"measure fowner>6", opened, Yes},
		{"measure fowner>7", opened, No},
		{"measure fgroup=1", opened, No},
		{"measure fsname=ext4", run, Yes},
		{"measure fsname=xfs", run, No},
		{"measure fsname=xfs", opened, Maybe},
		{"measure fsmagic=0xef53", run, Yes},
		{"measure fsmagic=0x9fa0", run, No},
		{"measure fsmagic=0x9fa0", opened, No}, // files of proc have no signatures
		{"measure fsmagic=0x73717368", opened, Maybe},
		{"measure fsmagic=0xef53", Access{Func: BprmCheck, Mask: MayExec, FSName: "bcachefs"}, Maybe},
		{"measure obj_type=x", run, Maybe},
		{"measure fsuuid=8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6 fsname=xfs", run, No},
	} {
		rules, findings := Target{}.Rules(parse(t, c.rule+"\n"))
		if len(rules) != 1 {
			t.Fatalf("%s: %v", c.rule, findings)
		}
		if got := rules[0].Matches(c.access); got != c.want {
			t.Errorf("%s, %+v: %v, want %v", c.rule, c.access, got, c.want)
		}
	}
}
