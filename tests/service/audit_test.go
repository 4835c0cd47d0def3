package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// logs returns the flags of audit for the logs of servers, over the network.
func logs(servers ...*service) (flags []string) {
	for _, s := range servers {
		_, query, _ := strings.Cut(s.build(), "?")
		flags = append(flags, "--log", "https://"+s.address+"/?"+query, "--log-key", s.path("requester", "log.pub"))
	}
	return flags
}

// copied returns the flags of audit for the log in the directory of the service.
func (s *service) copied() []string {
	return []string{"--log", s.path("log"), "--log-key", s.path("requester", "log.pub")}
}

// audit runs a command about logs.
func (s *service) audit(command string, args ...string) harness.Result {
	s.Helper()
	return harness.Run(s, s.program, append([]string{"audit", command}, args...)...)
}

// audited fails the test unless the log is as it was signed, and has every signature in the
// manifests.
func (s *service) audited(manifests ...string) {
	s.Helper()
	harness.Must(s, s.program, append([]string{"audit", "verify"}, logs(s)...)...)
	harness.Must(s, s.program, append(append([]string{"audit", "prove", "--cert", s.certificate()}, logs(s)...), manifests...)...)
}

// TestStolenSigner has the signing key itself. What it signs beside the service is valid for
// every device, and in no log: audit names it.
func TestStolenSigner(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	tree, manifest := files(t, 40), filepath.Join(t.TempDir(), "manifest")
	s.signed(s.build(), "rootfs sign", "--manifest", manifest, tree)
	s.audited(manifest)
	write(t, filepath.Join(tree, "0", "backdoor"), "signed by nobody who was asked")
	harness.Sign(t, s.keys, tree, "--manifest", manifest)
	s.accepted(tree)
	s.stop() // a copy of the log is enough
	r := s.audit("prove", append(s.copied(), "--cert", s.certificate(), manifest)...)
	if r.Code != 3 {
		t.Errorf("exit %d", r.Code)
	}
	demand(t, r.Out+r.Err, "0/backdoor")
	if strings.Contains(r.Out+r.Err, "0/file-1") {
		t.Errorf("it names others:\n%s%s", r.Out, r.Err)
	}
}

// TestInsiderChangesTheLog has the machine of the service: it changes, cuts and replaces the
// log. The checkpoint that an auditor kept shows each.
func TestInsiderChangesTheLog(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	state := filepath.Join(t.TempDir(), "checkpoint")
	verify := func(want int, what string) {
		t.Helper()
		r := s.audit("verify", append(s.copied(), "--state", state)...)
		if r.Code != want {
			t.Errorf("%s: exit %d\n%s%s", what, r.Code, r.Out, r.Err)
		}
	}
	w := s.wire(s.own())
	for range 3 {
		w.is(w.ask(w.request(5)), "")
	}
	s.stop()
	young := filepath.Join(t.TempDir(), "young")
	harness.Must(t, "cp", "-a", s.path("log"), young)
	s.start()
	w.is(w.ask(w.request(5)), "")
	s.stop()
	verify(0, "as it is")
	journal := read(t, s.path("log", "journal"))
	changed := []byte(journal)
	changed[len(changed)/2] ^= 1
	check(t, os.WriteFile(s.path("log", "journal"), changed, 0o600))
	verify(3, "changed")
	write(t, s.path("log", "journal"), journal)
	verify(0, "as it was")
	check(t, os.RemoveAll(s.path("log")))
	harness.Must(t, "cp", "-a", young, s.path("log"))
	verify(3, "cut")
	s.start() // the server cannot know
	w.is(w.ask(w.request(5)), "")
	s.stop()
	verify(3, "a fork")
}
