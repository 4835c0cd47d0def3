package cache

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// meter lies between the program and a TPM and counts the signatures.
type meter struct {
	device string // as tpm2: URIs name it
	signed atomic.Int64
}

// newMeter starts a meter in front of a TPM. It ends with the test.
func newMeter(t testing.TB, tpm *harness.TPM) *meter {
	t.Helper()
	dir, err := os.MkdirTemp("", "meter") // the path of a socket has at most 107 bytes
	check(t, err)
	socket := filepath.Join(dir, "sock")
	listener, err := net.Listen("unix", socket)
	check(t, err)
	t.Cleanup(func() { check(t, listener.Close()); check(t, os.RemoveAll(dir)) })
	m := &meter{device: "unix:" + socket}
	go func() {
		for {
			program, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			m.serve(program, tpm.Device[len("unix:"):])
		}
	}()
	return m
}

// serve passes commands on, and answers back, until the program ends.
func (m *meter) serve(program net.Conn, socket string) {
	defer program.Close()
	tpm, err := net.Dial("unix", socket)
	if err != nil {
		return // the program reports it
	}
	defer tpm.Close()
	for {
		code, err := pass(tpm, program)
		if err != nil {
			return
		}
		if code == commandSign {
			m.signed.Add(1)
		}
		if _, err := pass(program, tpm); err != nil {
			return
		}
	}
}

// commandSign is TPM2_CC_Sign (TPM 2.0 library, part 2, section 6.5.2).
const commandSign = 0x15d

// pass copies a command or an answer, and returns its code. Both begin with a tag of 2 bytes,
// the size of all in 4 bytes, and the code in 4 bytes, big-endian.
func pass(to io.Writer, from io.Reader) (code uint32, err error) {
	message := make([]byte, 10)
	if _, err := io.ReadFull(from, message); err != nil {
		return 0, err
	}
	message = append(message, make([]byte, binary.BigEndian.Uint32(message[2:])-10)...)
	if _, err := io.ReadFull(from, message[10:]); err != nil {
		return 0, err
	}
	_, err = to.Write(message)
	return binary.BigEndian.Uint32(message[6:]), err
}

// inTPM returns a lab whose key is in a TPM, with its meter.
func inTPM(t testing.TB) (*lab, *meter) {
	t.Helper()
	harness.Root(t)
	m := newMeter(t, harness.NewTPM(t))
	l := &lab{TB: t, dir: t.TempDir()}
	l.cache, l.certs = l.path("cache"), l.path("keys")
	l.must("key", "init", "--algorithm", "p256", "--on", "tpm2:?device="+m.device, l.certs)
	l.uri = "tpm2:" + filepath.Join(l.certs, "x509_ima.key") + "?device=" + m.device
	m.signed.Store(0)
	return l, m
}

// TestInterrupted ends the program while a TPM signs for it. What the TPM signed before is
// kept: the next run asks it for the rest alone.
func TestInterrupted(t *testing.T) {
	l, m := inTPM(t)
	const all, enough = 150, 40
	for name, s := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			l := l.is(t).with(name)
			dir := tree(t, l.path("tree of "+name), all)
			sign := append([]string{"rootfs", "sign", dir}, l.key()...)
			m.signed.Store(0)
			p := l.start(sign...)
			p.until(func() bool { return m.signed.Load() >= enough })
			check(t, p.Process.Signal(s))
			<-p.ended
			if p.ProcessState.Success() {
				t.Fatalf("it was done before the signal\n%s%s", &p.out, &p.err)
			}
			asked, kept := m.signed.Load()-proof, l.count()
			if kept < enough-maxBatch || kept > asked {
				t.Errorf("%d of %d signatures are in the cache", kept, asked)
			}
			m.signed.Store(0)
			l.must(sign...)
			if n := m.signed.Load() - proof; n != all-kept {
				t.Errorf("the TPM made %d signatures after %d were kept, of %d", n, kept, all)
			}
			l.verified(dir, all)
			l.sound()
		})
	}
}

// proof is the signature that a TPM makes whenever a key is opened. It proves that the
// authorization value is right.
const proof = 1

// maxBatch is the most signatures that the program has of a TPM before it stores them.
const maxBatch = 8

// TestTPM builds twice: the TPM signs only in the first build.
func TestTPM(t *testing.T) {
	l, m := inTPM(t)
	for i, want := range []int64{30, 0} {
		m.signed.Store(0)
		dir := tree(t, l.path(string(rune('a'+i))), 30)
		l.must(append([]string{"rootfs", "sign", dir}, l.key()...)...)
		if n := m.signed.Load() - proof; n != want {
			t.Errorf("build %d: the TPM made %d signatures", i+1, n)
		}
		l.verified(dir, 30)
	}
}
