package simulate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/simulate"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// What would a device with this policy refuse of a tree in which nothing is signed?
func Example() {
	dir, err := os.MkdirTemp("", "rootfs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "init"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		panic(err)
	}
	p, err := policy.Parse([]byte("appraise func=BPRM_CHECK appraise_type=imasig\n"))
	if err != nil {
		panic(err)
	}
	rules, _ := policy.Target{}.Rules(p)
	t, err := tree.Open(dir, tree.Options{})
	if err != nil {
		panic(err)
	}
	defer t.Close()
	engine, err := signing.New(signing.Options{})
	if err != nil {
		panic(err)
	}
	device := simulate.Device{Trusted: ima.NewKeyring(), FSName: "ext4"}
	result, err := device.Run(context.Background(), engine, simulate.OfDirectory(t), rules)
	if err != nil {
		panic(err)
	}
	for _, r := range result.Refused {
		fmt.Println(r.Path, r.Func, r.Reason, r.Certain, r.Boot)
	}
	// Output: init BPRM_CHECK no security.ima (IMA-signature-required) true true
}
