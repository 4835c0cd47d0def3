package service

import (
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestStolenRequester has the files of a requester. They are good for what its rule grants,
// each request is recorded, and nothing is left when it is revoked: its open connections are
// closed, while others go on.
func TestStolenRequester(t *testing.T) {
	t.Parallel()
	s := newService(t, harness.Keys(t, "p256"))
	stolen := s.identity(later())
	s.rules(stolen.requester("stolen"), "  - {name: all, keys: [image], requesters: [build, stolen], forms: [v2], quota: 100}\n")
	s.start()
	thief, honest := s.wire(stolen), s.wire(s.own())
	for range 10 {
		thief.is(thief.ask(thief.request(10)), "")
	}
	thief.is(thief.ask(thief.request(1)), protocol.Quota)
	honest.is(honest.ask(honest.request(10)), "")
	open := s.metric("imasign_connections")

	s.configure(stolen.requester("stolen"), "", "[build, stolen]", "[build]")
	s.reload()
	s.await("the connection of the thief is closed", func() bool { return s.metric("imasign_connections") == open-1 })
	before := s.metric("imasign_connections")
	honest.is(honest.ask(honest.request(10)), "")
	if s.metric("imasign_connections") != before {
		t.Error("the other requester had to connect again")
	}
	thief.is(thief.ask(thief.request(1)), protocol.UnknownRequester)
	s.refused(s.key(stolen.file), files(t, 1), "refused (unknown-requester)")
}

// TestReloadTakesAllOrNothing reloads a configuration with a mistake, one that needs a restart,
// and none: the old rules stay in force.
func TestReloadTakesAllOrNothing(t *testing.T) {
	t.Parallel()
	s := started(t, harness.Keys(t, "p256"))
	w, good := s.wire(s.own()), read(t, s.path("serve.yaml"))
	for _, wrong := range []string{
		strings.Replace(good, "forms: [", "froms: [", 1),
		strings.Replace(good, ":7443", ":7444", 1),
		strings.Replace(good, `requesters: ["build"]`, `requesters: ["nobody"]`, 1),
		"",
	} {
		if wrong == good {
			t.Fatalf("nothing was replaced in:\n%s", good)
		}
		write(t, s.path("serve.yaml"), wrong)
		before := strings.Count(read(t, s.output), "not reloaded")
		s.signal(syscall.SIGHUP)
		s.await("the server has refused the configuration", func() bool { return strings.Count(read(t, s.output), "not reloaded") > before })
		w.is(w.ask(w.request(1)), "")
	}
	write(t, s.path("serve.yaml"), good)
	s.reload()
	w.is(w.ask(w.request(1)), "")
	s.stop()
}
