package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TPM is a software TPM 2.0 (swtpm) that is new and is removed after the test.
type TPM struct {
	Device string // as tpm2: URIs name it
	TCTI   string // as tpm2-tools name it
	state  string
	socket string
	cmd    *exec.Cmd
}

// NewTPM starts swtpm.
func NewTPM(t testing.TB) *TPM {
	t.Helper()
	dir, err := os.MkdirTemp("", "swtpm") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &TPM{state: dir, socket: filepath.Join(dir, "sock")}
	s.Device, s.TCTI = "unix:"+s.socket, "swtpm:path="+s.socket
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

// Start switches the TPM on. Its non-volatile memory is kept from earlier starts.
func (s *TPM) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(Tool(t, "swtpm"), "socket", "--tpm2", "--tpmstate", "dir="+s.state,
		"--server", "type=unixio,path="+s.socket, "--ctrl", "type=unixio,path="+s.socket+".ctrl", "--flags", "not-need-init,startup-clear")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("swtpm does not listen: %v", err)
		}
	}
}

// Stop switches the TPM off.
func (s *TPM) Stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.Remove(s.socket)
	_ = os.Remove(s.socket + ".ctrl")
}

// Tool runs one of the tpm2-tools on the TPM.
func (s *TPM) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	return Must(t, Tool(t, name), append(args, "--tcti="+s.TCTI)...)
}
