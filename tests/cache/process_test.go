package cache

import (
	"bytes"
	"os/exec"
	"time"
)

// process is a running program.
type process struct {
	*exec.Cmd
	l        *lab
	out, err bytes.Buffer // valid when it has ended
	ended    chan struct{}
}

// start starts the program.
func (l *lab) start(args ...string) *process {
	l.Helper()
	p := &process{Cmd: l.command(args...), l: l, ended: make(chan struct{})}
	p.Stdout, p.Stderr = &p.out, &p.err
	check(l, p.Start())
	go func() {
		_ = p.Wait()
		close(p.ended)
	}()
	l.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	return p
}

// until waits until is returns true, and fails the test if the program ends before.
func (p *process) until(is func() bool) {
	p.l.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(100 * time.Microsecond) {
		select {
		case <-p.ended:
			p.l.Fatalf("it ended too early\n%s%s", &p.out, &p.err)
		default:
		}
		if time.Now().After(deadline) {
			p.l.Fatal("nothing happens")
		}
	}
}

// done waits for the program, which must do its work without a word on standard error.
func (p *process) done() {
	p.l.Helper()
	if <-p.ended; !p.ProcessState.Success() || p.err.Len() > 0 {
		p.l.Errorf("%s\n%s%s", p.ProcessState, &p.out, &p.err)
	}
}
