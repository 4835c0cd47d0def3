// Guest is /init of the machine that tests/policy/freeze.sh boots: it writes each
// line of /rules to the kernel's policy file and prints what the kernel said to it.
// Every update is spoilt by a second, wrong rule, so that none becomes the policy:
// kernels without CONFIG_IMA_WRITE_POLICY take one only.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

const policy = "/sys/kernel/security/ima/policy"

func main() {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"securityfs", "/sys/kernel/security"}} {
		_ = os.MkdirAll(m.at, 0o755) // the mount fails if it is missing
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			fmt.Println("mount", m.at, err)
		}
	}
	if err := ask("/rules"); err != nil {
		fmt.Println(err)
	}
	fmt.Println("\nDONE")
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF) // the host has a timeout
}

func ask(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan(); n++ {
		text, err := strconv.Unquote(lines.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		// On a line of its own, whatever the firmware has left there.
		fmt.Printf("\nVERDICT %d %s\n", n, verdict(text))
	}
	return lines.Err()
}

func verdict(text string) string {
	fd, err := syscall.Open(policy, syscall.O_WRONLY, 0)
	if err != nil {
		return "open:" + name(err)
	}
	_, err = syscall.Write(fd, []byte(text+"\n"))
	_, spoilt := syscall.Write(fd, []byte("spoilt\n"))
	_ = syscall.Close(fd)
	if spoilt == nil {
		return "not-spoilt"
	}
	return name(err)
}

func name(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, syscall.EINVAL):
		return "EINVAL"
	case errors.Is(err, syscall.ERANGE):
		return "ERANGE"
	}
	return strconv.Quote(err.Error())
}
