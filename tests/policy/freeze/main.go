// Freeze takes lines out of a frozen file for the guest, and puts the guest's
// verdicts into it.
//
//	freeze lines FILE            prints the rules, quoted, one a line
//	freeze verdicts FILE COLUMN  reads the guest's report, replaces the column (from 0)
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "freeze:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("lines FILE | verdicts FILE COLUMN")
	}
	data, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if args[0] == "lines" {
		for _, line := range rows(lines) {
			fields := strings.Split(lines[line], "\t")
			fmt.Println(fields[len(fields)-1])
		}
		return nil
	}
	column, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	verdicts, err := read(os.Stdin)
	if err != nil {
		return err
	}
	return replace(args[1], lines, column, verdicts)
}

// rows are the numbers of the lines that are no comments.
func rows(lines []string) []int {
	var numbers []int
	for i, line := range lines {
		if !strings.HasPrefix(line, "#") {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

func read(console io.Reader) (map[int]string, error) {
	verdicts := map[int]string{}
	done := false
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		var n int
		var verdict string
		if _, err := fmt.Sscanf(text, "VERDICT %d %s", &n, &verdict); err == nil {
			verdicts[n] = verdict
		}
		done = done || text == "DONE"
	}
	if !done {
		return nil, errors.New("the guest did not say DONE")
	}
	return verdicts, lines.Err()
}

func replace(file string, lines []string, column int, verdicts map[int]string) error {
	for n, i := range rows(lines) {
		verdict, ok := verdicts[n]
		if !ok {
			return fmt.Errorf("no verdict on line %d of %s", i+1, file)
		}
		fields := strings.Split(lines[i], "\t")
		fields[column] = verdict
		lines[i] = strings.Join(fields, "\t")
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
