package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/target"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// evmTargets are the values of --evm-target.
func evmTargets() map[string]ima.EVMTarget {
	return map[string]ima.EVMTarget{
		"64le": {}, "32le": {Bits32: true}, "64be": {BigEndian: true}, "32be": {Bits32: true, BigEndian: true},
	}
}

// evmTarget is the target of EVM values: what --evm-target states, or what the files of the
// first container say.
type evmTarget struct {
	word  string // "" to ask the files
	value ima.EVMTarget
	known bool
}

func (t *evmTarget) add(flags *pflag.FlagSet) {
	var options []option
	for _, word := range []string{"64le", "32le", "64be", "32be"} {
		options = append(options, option{word, evmTargets()[word].String()})
	}
	choiceVar(flags, &t.word, "evm-target", "", "the kernels that security.evm is for", options)
	annotate(flags, "evm-target", noteDefault, "what the ELF files are for")
	once(flags, "evm-target")
}

func (t *evmTarget) get() ima.EVMTarget { return t.value }

// stated reports whether --evm-target states the target.
func (t *evmTarget) stated() bool {
	value, stated := evmTargets()[t.word]
	if stated && !t.known {
		t.value, t.known = value, true
	}
	return stated
}

// learn finds out the target from the files of a container, unless it is known.
func (t *evmTarget) learn(ctx context.Context, a *app, src signing.Source) error {
	if t.known || t.stated() {
		return nil
	}
	found, err := target.Detect(ctx, src)
	if err != nil {
		return err
	}
	t.value, t.known = found.EVMTarget, true
	if found.Bits32 && !found.Module {
		a.note("warning: %s is a 32-bit program, so security.evm is for 32-bit kernels; if the kernel has 64 bits, give --evm-target", found.Path)
	}
	return nil
}
