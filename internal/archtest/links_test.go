package archtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// TestLinks checks that the files and headings that pages link to in the repository exist.
func TestLinks(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		text, _ := document(t, page)
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			target, heading, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // outside the repository
			}
			links++
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, match[1])
			} else if heading != "" && !slices.Contains(anchors(t, to), heading) {
				t.Errorf("%s links to %s, which has no such heading", page, match[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

// pages lists the Markdown files of the repository.
func pages(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == "testdata" || name == "bin") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			name, err := filepath.Rel(root, path)
			list = append(list, name)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// withoutCode returns the text without code, in which Markdown has no links.
func withoutCode(text string) string {
	var b bytes.Buffer
	fenced := false
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			fmt.Fprintln(&b, codeSpan.ReplaceAllString(line, ""))
		}
	}
	return b.String()
}

// anchors returns the names of a page's headings in links, as GitHub and GitLab make them.
func anchors(t *testing.T, page string) (list []string) {
	_, lines := document(t, page)
	for _, line := range lines {
		heading, is := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !is || !strings.HasPrefix(line, "#") {
			continue
		}
		list = append(list, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading))
	}
	return list
}
