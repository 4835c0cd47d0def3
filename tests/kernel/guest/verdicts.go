package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// verdicts writes each line of a file, which are quoted, to the kernel's policy file
// and prints what the kernel said to it:
//
//	VERDICT NUMBER OUTCOME
//
// Every update is spoilt by a second, wrong rule, so that none becomes the policy:
// kernels without CONFIG_IMA_WRITE_POLICY take one only, and a rule of an earlier line
// must not judge a later one.
func verdicts(words []string) string {
	f, err := os.Open(words[0])
	if err != nil {
		return name(err)
	}
	lines := bufio.NewScanner(f)
	n := 0
	for ; lines.Scan(); n++ {
		text, err := strconv.Unquote(lines.Text())
		if err != nil {
			return fmt.Sprintf("line %d: %v", n+1, err)
		}
		fmt.Printf("\nVERDICT\t%d\t%s\n", n, verdict(text))
	}
	if lines.Err() != nil {
		return name(lines.Err())
	}
	return fmt.Sprint(n)
}

func verdict(text string) string {
	fd, err := unix.Open(policyFile, unix.O_WRONLY, 0)
	if err != nil {
		return "open: " + name(err)
	}
	_, err = unix.Write(fd, []byte(text+"\n"))
	_, spoilt := unix.Write(fd, []byte("spoilt\n"))
	_ = unix.Close(fd)
	if spoilt == nil {
		return "not-spoilt"
	}
	return name(err)
}
