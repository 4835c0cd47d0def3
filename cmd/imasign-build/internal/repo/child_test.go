package repo

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// A child process is this test binary. Its environment tells it to sign a repository, and a
// test kills it at that.
const (
	childDir    = "REPO_TEST_DIR"
	childOut    = "REPO_TEST_OUT"
	childTool   = "REPO_TEST_CREATEREPO"
	childResult = "REPO_TEST_RESULT" // a file that is made for the first package
)

func asChild() bool {
	if os.Getenv(childDir) == "" {
		return false
	}
	s, err := signer()
	if err == nil {
		o := Options{Dir: os.Getenv(childDir), Output: os.Getenv(childOut), Createrepo: os.Getenv(childTool), Jobs: 1}
		_, err = sign(context.Background(), s, o, func(result) error {
			if path := os.Getenv(childResult); path != "" {
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					return err
				}
				select {} // until it is killed
			}
			return nil
		})
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

func childCommand(t *testing.T, dir, out string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append([]string{childDir + "=" + dir, childOut + "=" + out}, env...)...)
	return cmd
}
