package rpmsign

import (
	"slices"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

const (
	knows = signing.KnowsELF
	isELF = signing.KnowsELF | signing.ELF
)

// TestTraits checks packages by rpm 4.18 and rpm 6.
func TestTraits(t *testing.T) {
	for _, version := range []string{"v4", "v6"} {
		p, err := Open("testdata/rpmsign-ima/"+version+"/rich.rpm", Options{})
		check(t, err)
		defer p.Close()
		var elf, unknown []string
		for e, err := range p.Entries(t.Context()) {
			check(t, err)
			switch {
			case e.Traits == isELF:
				elf = append(elf, e.Path)
			case e.Traits != knows:
				unknown = append(unknown, e.Path)
			}
		}
		if !slices.Equal(elf, []string{"usr/bin/elf32", "usr/bin/elf64"}) || unknown != nil {
			t.Errorf("%s: ELF files are %q, unknown are %q", version, elf, unknown)
		}
	}
}

// rpm gives a colour only to executable files. Other tags describe the others.
func TestTraitsByTag(t *testing.T) {
	const colors, class, dict, index, mimes = 1140, 1141, 1142, 5115, 5116
	none, elf := signing.Traits(0), isELF
	for name, c := range map[string]struct {
		tags []packages.Tag
		want []signing.Traits // by file
	}{
		"nothing":             {nil, []signing.Traits{none, none, none, none}},
		"colours":             {[]packages.Tag{{Tag: colors, Type: 4, Count: 4, Data: int32s(0, 1, 2, 4)}}, []signing.Traits{none, elf, elf, elf}},
		"another colour":      {[]packages.Tag{{Tag: colors, Type: 4, Count: 4, Data: int32s(8, 9, 1<<29, 0)}}, []signing.Traits{none, elf, none, none}},
		"too few":             {[]packages.Tag{{Tag: colors, Type: 4, Count: 3, Data: int32s(1, 1, 1)}}, []signing.Traits{none, none, none, none}},
		"classes":             {[]packages.Tag{{Tag: class, Type: 4, Count: 4, Data: int32s(0, 1, 2, 3)}, {Tag: dict, Type: 8, Count: 3, Data: strings0("", "ELF 64-bit LSB shared object, x86-64", "setuid ELF 32-bit LSB executable")}}, []signing.Traits{knows, elf, elf, none}},
		"classes and colours": {[]packages.Tag{{Tag: colors, Type: 4, Count: 4, Data: int32s(0, 0, 2, 0)}, {Tag: class, Type: 4, Count: 4, Data: int32s(0, 1, 0, 0)}, {Tag: dict, Type: 8, Count: 2, Data: strings0("ASCII text", "ELF 64-bit LSB relocatable")}}, []signing.Traits{knows, elf, elf, knows}},
		"no classes":          {[]packages.Tag{{Tag: class, Type: 4, Count: 4, Data: int32s(0, 0, 0, 0)}}, []signing.Traits{none, none, none, none}},
		"MIME types":          {[]packages.Tag{{Tag: index, Type: 4, Count: 4, Data: int32s(0, 1, 2, 3)}, {Tag: mimes, Type: 8, Count: 4, Data: strings0("text/plain", "application/x-sharedlib", "application/x-pie-executable", "application/x-shellscript")}}, []signing.Traits{knows, elf, elf, knows}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := parseHeader(packages.Compose(63, append([]packages.Tag{{Tag: 1000, Type: 6, Count: 1, Data: []byte("n\x00")}}, c.tags...)), mainLimits())
			check(t, err)
			files := make([]file, 4)
			readTraits(h, files)
			var got []signing.Traits
			for _, f := range files {
				got = append(got, f.traits)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
