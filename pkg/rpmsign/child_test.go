package rpmsign

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// A child process is this test binary with environment variables that say what to do, under
// limits and signals that the test itself must not have.
const (
	childPackage = "RPMSIGN_TEST_PACKAGE"
	childLimit   = "RPMSIGN_TEST_FSIZE"  // RLIMIT_FSIZE
	childUser    = "RPMSIGN_TEST_UID"    // the user to become
	childRounds  = "RPMSIGN_TEST_ROUNDS" // how often to sign and strip
)

// asChild does the work of a child process.
func asChild() bool {
	path := os.Getenv(childPackage)
	if path == "" {
		return false
	}
	if err := signAsChild(path); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

func signAsChild(path string) error {
	if limit, err := strconv.ParseUint(os.Getenv(childLimit), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	if uid, err := strconv.Atoi(os.Getenv(childUser)); err == nil {
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return err
		}
	}
	key := keys["p256"]()
	public, err := ima.BareKey(key.Public())
	if err != nil {
		return err
	}
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}, Force: true})
	if err != nil {
		return err
	}
	rounds, _ := strconv.Atoi(os.Getenv(childRounds))
	for i := range max(1, rounds) {
		s := loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) {
			if i%2 == 1 {
				return e.Strip(ctx, p)
			}
			return e.Plan(ctx, p)
		}}
		if r := s.Run(context.Background(), unit{Path: path}); r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// inChild signs a package in a child process.
func inChild(t *testing.T, path string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append([]string{childPackage + "=" + path, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}
