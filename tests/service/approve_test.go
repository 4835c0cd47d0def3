package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// release is a service that signs only manifests that two of three people have approved.
type release struct {
	*service
	out    string
	people map[string]string // directories with their keys
}

func newRelease(t testing.TB) *release {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--with", "evm", keys)
	r := &release{newService(t, keys), t.TempDir(), map[string]string{}}
	evm := fmt.Sprintf("keys:\n  - {name: evm, uri: %s, certificate: %s}\n", filepath.Join(keys, "x509_evm.key"), filepath.Join(keys, "x509_evm.crt"))
	r.configure("keys:\n", "approvals: approvals\n"+evm)
	approvers := "approvers:\n"
	for _, name := range []string{"alice", "bob", "carol"} {
		r.people[name] = harness.Keys(t, "p256")
		approvers += fmt.Sprintf("  - {name: %s, certificate: %s/x509_ima.crt}\n", name, r.people[name])
	}
	r.rules(approvers, "  - {name: release, keys: [image, evm], requesters: [build], forms: [v2, evm], approved: {by: [alice, bob, carol], at-least: 2, origin: router}}\n")
	check(t, os.Mkdir(r.path("approvals"), 0o755))
	return r
}

// manifest makes the manifest of a tree by a dry run without a key.
func (r *release) manifest(tree string) string {
	r.Helper()
	path := filepath.Join(r.out, "manifest")
	harness.Must(r, r.program, "rootfs", "sign", "--dry-run", "--manifest", path, tree)
	return path
}

// evm returns the flags for signatures of metadata by the service.
func (r *release) evm() []string {
	return []string{"--evm", "portable", "--evm-target", "64le", "--evm-key", strings.Replace(r.build(), "/image?", "/evm?", 1), "--evm-cert", filepath.Join(r.keys, "x509_evm.crt")}
}

// approve has somebody approve a manifest for a key, whose name is also that of the form.
func (r *release) approve(who, manifest, key string, flags ...string) {
	r.Helper()
	form := map[string]string{"ima": "v2", "evm": "evm"}[key]
	own := r.people[who]
	harness.Must(r, r.program, append([]string{
		"approve", "--key", filepath.Join(own, "x509_ima.key"), "--cert", filepath.Join(own, "x509_ima.crt"),
		"--for-key", filepath.Join(r.keys, "x509_"+key+".crt"), "--form", form, "--origin", "router", "--yes", "-o", r.path("approvals"), manifest,
	}, flags...)...)
}

// settle waits longer than a server keeps what it knows of the directory with approvals.
func settle() { time.Sleep(700 * time.Millisecond) }

// sign signs a tree with both keys.
func (r *release) sign(tree string) harness.Result {
	r.Helper()
	return r.client(r.build(), "rootfs sign", append(r.evm(), tree)...)
}

// not fails the test unless a tree is not signed.
func (r *release) not(tree string, parts ...string) {
	r.Helper()
	settle()
	before, result := harness.Xattrs(r, tree), r.sign(tree)
	if result.Code != 1 || harness.Xattrs(r, tree) != before {
		r.Errorf("exit %d, or the tree was changed", result.Code)
	}
	demand(r, result.Err, append(parts, "refused (not-approved)")...)
}

// TestStolenRequesterOfApprovedManifests has a requester whose rule wants two of three people.
// It gets signatures of what they approved, content and metadata, and of nothing else.
func TestStolenRequesterOfApprovedManifests(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	r.start()
	tree := files(t, 50)
	manifest := r.manifest(tree)
	r.not(tree, `nobody has approved a manifest of "router"`)
	r.approve("alice", manifest, "ima")
	r.approve("alice", manifest, "evm")
	r.not(tree, "has 1 of 2 approvals")
	r.approve("alice", manifest, "ima", "--days", "60") // one person, twice
	r.not(tree)
	r.approve("carol", manifest, "ima")
	r.not(tree) // the metadata have one approval
	r.approve("carol", manifest, "evm")

	changed := filepath.Join(t.TempDir(), "changed")
	harness.Must(t, "cp", "-a", tree, changed)
	write(t, filepath.Join(changed, "0", "file-7"), "other content")
	r.not(changed, "0/file-7")
	write(t, filepath.Join(changed, "0", "file-7"), read(t, filepath.Join(tree, "0", "file-7")))
	harness.Must(t, "chmod", "u+s", filepath.Join(changed, "0", "file-8"))
	r.not(changed, "0/file-8", "its approved metadata and this security.ima have another digest")

	if result := r.sign(tree); result.Code != 0 {
		t.Fatalf("exit %d\n%s", result.Code, result.Err)
	}
	r.accepted(tree)
	for _, file := range harness.Files(t, tree)[:5] {
		result := harness.Run(t, "evmctl", "verify", "--key", filepath.Join(r.keys, "x509_evm.der"), file)
		demand(t, result.Out+result.Err, "verification is OK")
	}
	harness.Must(t, r.program, "rootfs", "verify", "--cert", r.certificate(), "--evm-cert", filepath.Join(r.keys, "x509_evm.crt"), "--require-evm", "--evm-target", "64le", "--require", "all", tree)
}

// TestApprovalsThatAreNotWorthIt changes, moves and withdraws what was approved.
func TestApprovalsThatAreNotWorthIt(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	r.start()
	tree := files(t, 10)
	manifest := r.manifest(tree)
	approve := func() {
		for _, who := range []string{"bob", "carol"} {
			r.approve(who, manifest, "ima")
			r.approve(who, manifest, "evm")
		}
	}
	approve()
	stored, err := filepath.Glob(r.path("approvals", "*.manifest"))
	check(t, err)
	if len(stored) != 1 {
		t.Fatalf("%v", stored)
	}
	text := read(t, stored[0])
	other := filepath.Join(t.TempDir(), "other")
	harness.Must(t, "cp", "-a", tree, other)
	write(t, filepath.Join(other, "0", "file-1"), "other content")
	altered := strings.Replace(text, sum(t, filepath.Join(tree, "0", "file-1")), sum(t, filepath.Join(other, "0", "file-1")), 1)
	if altered == text {
		t.Fatal("nothing was altered")
	}
	write(t, stored[0], altered) // by somebody who can write there, but not sign
	r.not(other)
	r.not(tree)
	write(t, stored[0], text)
	approvals, err := filepath.Glob(r.path("approvals", "*.approval"))
	check(t, err)
	for _, path := range approvals {
		check(t, os.Remove(path))
	}
	r.not(tree)
	approve()
	settle()
	if result := r.sign(tree); result.Code != 0 {
		t.Fatalf("exit %d\n%s", result.Code, result.Err)
	}
	r.configure("origin: router", "origin: switch")
	r.reload()
	r.not(other)
	harness.Must(t, r.program, "rootfs", "strip", tree)
	r.not(tree)
}

// sum returns the SHA-256 of a file by sha256sum.
func sum(t testing.TB, path string) string {
	t.Helper()
	text, _, _ := strings.Cut(harness.Must(t, "sha256sum", path), " ")
	return text
}

// TestExpiredApprovals checks that approvals whose time is over grant nothing, until somebody
// approves again.
func TestExpiredApprovals(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	r.start()
	tree := files(t, 5)
	manifest := r.manifest(tree)
	approve := func(flags ...string) {
		for _, key := range []string{"ima", "evm"} {
			r.approve("alice", manifest, key)
			r.approve("bob", manifest, key, flags...)
		}
	}
	end := time.Now().Add(8 * time.Second) // more than approving takes on a slow machine
	approve("--not-after", end.UTC().Format(time.RFC3339))
	time.Sleep(time.Until(end.Add(time.Second)))
	r.not(tree, "has 1 of 2 approvals", "another one expired at "+end.UTC().Format(time.RFC3339))
	approve()
	settle()
	if result := r.sign(tree); result.Code != 0 {
		t.Fatalf("exit %d\n%s", result.Code, result.Err)
	}
}

// TestNobodyApprovesWhatTheyAskFor checks that an approver who is also the requester of a rule is
// refused, by `serve check` and by a running service.
func TestNobodyApprovesWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	r.start()
	r.configure("{name: alice,", "{name: build,", "by: [alice,", "by: [build,")
	const want = `"build" is an approver and a requester: nobody approves what they ask for`
	result := harness.Run(t, r.program, "serve", "check", r.path("serve.yaml"))
	if result.Code != 1 {
		t.Errorf("serve check: exit %d", result.Code)
	}
	demand(t, result.Out+result.Err, want)
	r.signal(syscall.SIGHUP)
	r.await("the service refuses the file", func() bool { return strings.Contains(read(t, r.output), want) })
	tree := files(t, 3)
	manifest := r.manifest(tree)
	for _, key := range []string{"ima", "evm"} {
		r.approve("alice", manifest, key)
	}
	r.not(tree, "has 1 of 2 approvals")
}
