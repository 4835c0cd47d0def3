// Freeze takes rules out of a frozen table for the guest, and records the guest's verdicts.
//
//	freeze lines TABLE                    prints the rules, quoted, one a line
//	freeze verdicts TABLE LATER RELEASE   reads the guest's report
//
// The verdicts of a release that TABLE has a column for go there. Those of any other release go
// to LATER, as far as they differ from the release before.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "freeze:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return errors.New("want lines TABLE, or verdicts TABLE LATER RELEASE")
	}
	t, err := readTable(args[1])
	if err != nil {
		return err
	}
	if len(args) == 2 {
		for _, row := range t.rows {
			fmt.Println(row[len(row)-1])
		}
		return nil
	}
	verdicts, err := read(os.Stdin)
	if err != nil {
		return err
	}
	for n, row := range t.rows {
		if verdicts[n] == "" {
			return fmt.Errorf("no verdict on %s", row[len(row)-1])
		}
	}
	if column := slices.Index(t.columns, args[3]); column >= 0 {
		for n, row := range t.rows {
			row[column] = verdicts[n]
		}
		return t.write(args[1])
	}
	return later(args[2], t, args[3], verdicts)
}

// table is a file of rows of fields, separated by tabs, after comments. The last comment names
// the columns.
type table struct {
	comments []string
	columns  []string
	rows     [][]string
}

func readTable(name string) (*table, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t := &table{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			t.comments = append(t.comments, line)
			t.columns = strings.Split(comment, "\t")
			continue
		}
		t.rows = append(t.rows, strings.Split(line, "\t"))
	}
	return t, nil
}

func (t *table) write(name string) error {
	var b strings.Builder
	for _, comment := range t.comments {
		fmt.Fprintln(&b, comment)
	}
	for _, row := range t.rows {
		fmt.Fprintln(&b, strings.Join(row, "\t"))
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

// read reads the guest's report.
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
