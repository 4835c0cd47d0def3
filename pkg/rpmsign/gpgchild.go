package rpmsign

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/imasign/imasign-build/internal/child"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	// gpgPatience is the time that gpg has to end after a signal.
	gpgPatience = 5 * time.Second
	// maxGPGSaid limits the messages that are kept, and maxGPGOutput the results.
	maxGPGSaid   = 8 << 10
	maxGPGOutput = 16 << 20
	// maxPassphrase is less than a pipe can hold, so writing one never blocks.
	maxPassphrase = 4096
)

// Descriptors of gpg in addition to the standard ones.
const (
	gpgStatus     = 3
	gpgPassphrase = 4
)

// run runs gpg with the input in and returns its output. gpg inherits no other descriptors
// and gets no secret in its arguments. It ends with this process and with ctx.
func (g *GPG) run(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, cmp.Or(g.program, "gpg"))
	cmd.Args = append(cmd.Args, "--batch", "--no-tty", "--no-greeting", "--quiet", "--status-fd", fmt.Sprint(gpgStatus))
	cmd.Env, cmd.Stdin = g.Environment, in
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = gpgPatience
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, said, status := &bounded{limit: maxGPGOutput}, &bounded{limit: maxGPGSaid}, &bounded{limit: maxGPGSaid}
	cmd.Stdout, cmd.Stderr = out, said
	statuses, err := newPipe()
	if err != nil {
		return nil, err
	}
	defer statuses.close()
	cmd.ExtraFiles = []*os.File{statuses.write}
	if g.Passphrase != nil {
		secrets, err := g.passphrase()
		if err != nil {
			return nil, fmt.Errorf("hand the passphrase to gpg: %w", err)
		}
		defer secrets.close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, secrets.read)
		cmd.Args = append(cmd.Args, "--pinentry-mode", "loopback", "--passphrase-fd", fmt.Sprint(gpgPassphrase))
	}
	cmd.Args = append(cmd.Args, args...)
	watch := &pinentry{asking: g.Asking}
	err = runReading(cmd, statuses, io.MultiWriter(status, watch))
	watch.end()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: install it (the package is called gnupg)", quote.Plain(err))
	case err == nil && out.over:
		return nil, fmt.Errorf("gpg: more than %d bytes of output", maxGPGOutput)
	case err != nil:
		return nil, &gpgError{failures(status.String()), strings.TrimSpace(said.String()), err}
	}
	return out.Bytes(), nil
}

// passphrase returns a pipe that holds the passphrase.
func (g *GPG) passphrase() (*pipe, error) {
	if len(g.Passphrase) > maxPassphrase {
		return nil, fmt.Errorf("it has more than %d bytes", maxPassphrase)
	}
	secrets, err := newPipe()
	if err != nil {
		return nil, err
	}
	defer secrets.endWriting()
	line := append(bytes.Clone(g.Passphrase), '\n')
	defer clear(line)
	if _, err := secrets.write.Write(line); err != nil {
		secrets.close()
		return nil, err
	}
	return secrets, nil
}

// runReading runs the command and copies its status messages to status.
func runReading(cmd *exec.Cmd, statuses *pipe, status io.Writer) error {
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(status, statuses.read) // without them an error is only less clear
	}()
	err := child.RunAlone(cmd)
	statuses.endWriting()
	// An agent that gpg started can still hold the descriptor.
	_ = statuses.read.SetReadDeadline(time.Now().Add(time.Second))
	<-read
	return err
}

// pinentry watches the status descriptor for the start of a pinentry. gpg reports it before
// the pinentry asks anything.
type pinentry struct {
	asking   func() (answered func()) // nil for nobody who wants to know
	line     []byte                   // the beginning of one
	answered func()                   // nil before asking was called
}

// Write never fails.
func (p *pinentry) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c != '\n':
			if len(p.line) < maxGPGSaid {
				p.line = append(p.line, c)
			}
			continue
		case p.asking != nil && p.answered == nil && bytes.HasPrefix(p.line, []byte("[GNUPG:] PINENTRY_LAUNCHED")):
			p.answered = p.asking()
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}

// end follows the end of gpg, which is that of its pinentry.
func (p *pinentry) end() {
	if p.answered != nil {
		p.answered()
	}
}

// failures returns the status lines about errors.
func failures(status string) string {
	var lines []string
	for line := range strings.Lines(status) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "[GNUPG:] ")
		switch word, _, _ := strings.Cut(text, " "); {
		case !ok:
		case word == "FAILURE", word == "ERROR", word == "INV_SGNR", word == "KEYEXPIRED", word == "KEYREVOKED", word == "NO_SECKEY":
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, "\n")
}

// pipe is a pipe. Closing an end again does nothing.
type pipe struct{ read, write *os.File }

func newPipe() (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &pipe{r, w}, nil
}

func (p *pipe) endWriting() { _ = p.write.Close() }

func (p *pipe) close() {
	_ = p.read.Close()
	p.endWriting()
}

// bounded keeps the first limit bytes that are written to it.
type bounded struct {
	bytes.Buffer

	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.Len()
	if b.over = b.over || len(p) > room; len(p) > room {
		b.Buffer.Write(p[:room])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
