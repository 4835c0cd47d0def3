// Guest is /sbin/init of the machines that tests/kernel boots, and /init where there is
// nothing but it. It does what /plan of the root file system says, a step a
// line, words separated by tabs, and prints what came of each:
//
//	RESULT PHASE STEP [WORD…] OUTCOME
//
// OUTCOME is ok, the name of an error number, or what else the step says. The last
// line is DONE.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("\nFAILED", err)
	} else {
		// The kernel prints audit records in a thread of its own, which runs while
		// this one sleeps.
		for range 20 {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("\nDONE")
	}
	unix.Sync()
	// The host's -no-reboot makes it the end, without ACPI.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {} // the host has a timeout
}

func run() error {
	if os.Args[0] == "/init" {
		if err := prepare(); err != nil {
			return err
		}
	}
	// Or most records of refusals are dropped.
	if err := os.WriteFile("/proc/sys/kernel/printk_ratelimit", []byte("0\n"), 0); err != nil {
		return err
	}
	f, err := os.Open("/plan")
	if err != nil {
		return err
	}
	phase := "start"
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		if words[0] == "phase" {
			phase = words[1]
			continue
		}
		step, known := steps[words[0]]
		if !known {
			return fmt.Errorf("/plan has a step %q", words[0])
		}
		outcome := step(words[1:])
		// On a line of its own, whatever the kernel prints.
		fmt.Printf("\nRESULT\t%s\t%s\t%s\n", phase, lines.Text(), outcome)
	}
	return lines.Err()
}

// steps by name; each returns its outcome.
var steps = map[string]func(words []string) string{
	"exec":        execute,
	"sh":          shell,
	"mmap":        mapped,
	"module":      loadModule,
	"init_module": loadUnpacked,
	"rmmod":       func(w []string) string { return name(remove(w[0])) },
	"firmware":    firmware,
	"policy":      writePolicy,
	"policy-path": func(w []string) string { return name(put(policyFile, w[0])) },
	"key":         addKey,
	"keyring":     describe,
	"copy":        copyFile,
	"append":      appendByte,
	"overwrite":   overwrite,
	"truncate":    truncate,
	"replace":     replace,
	"keep":        keep,
	"rename":      rename,
	"chmod":       func(w []string) string { return name(unix.Chmod(w[0], 0o744)) },
	"chown":       func(w []string) string { return name(unix.Chown(w[0], 1, 1)) },
	"touch":       func(w []string) string { return name(os.Chtimes(w[0], time.Unix(1e9, 0), time.Unix(1e9, 0))) },
	"verdicts":    verdicts,
}

// name of the error number behind an error.
func name(err error) string {
	if err == nil {
		return "ok"
	}
	var number unix.Errno
	if errors.As(err, &number) && unix.ErrnoName(number) != "" {
		return unix.ErrnoName(number)
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
