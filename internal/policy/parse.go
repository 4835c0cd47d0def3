package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxSize is the largest policy that is read. The kernel's own limit is 2 GiB; the
// largest policies in use have a few kilobytes.
const MaxSize = 1 << 20

// ErrTooLarge is a file that is no policy by its size.
var ErrTooLarge = errors.New("larger than 1 MiB, which no policy is")

// Policy is a policy file. Its bytes are the concatenation of its lines.
type Policy struct {
	Lines []Line
}

// Line is one line of the file.
type Line struct {
	Number int     // from 1
	Text   string  // without the newline
	End    string  // "\n", or "" for a last line without one
	Words  []Token // of a rule; none for a comment or an empty line
}

// Token is a word of a line: what is between spaces and tabs.
type Token struct {
	Column int // of its first byte, from 1
	Text   string
}

// Parse reads a policy. No content is wrong for it: what the kernel would refuse is
// [Check]'s to say. The only error is [ErrTooLarge].
func Parse(data []byte) (*Policy, error) {
	if len(data) > MaxSize {
		return nil, ErrTooLarge
	}
	p := &Policy{}
	for number := 1; len(data) > 0; number++ {
		text, rest, newline := bytes.Cut(data, []byte{'\n'})
		line := Line{Number: number, Text: string(text)}
		if newline {
			line.End = "\n"
		}
		line.Words = split(line.Text)
		p.Lines = append(p.Lines, line)
		data = rest
	}
	return p, nil
}

// Read is [Parse] of all that a reader has.
func Read(r io.Reader) (*Policy, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return Parse(data)
}

// split cuts a line at spaces and tabs, as ima_parse_rule does. A line is a comment
// if # is its first word's first byte; a # further on is no comment to the kernel.
// A NUL ends the line.
func split(text string) []Token {
	text, _, _ = strings.Cut(text, "\x00")
	var words []Token
	for i := 0; i < len(text); {
		switch {
		case text[i] == ' ' || text[i] == '\t':
			i++
			continue
		case text[i] == '#' && len(words) == 0:
			return nil
		}
		n := strings.IndexAny(text[i:], " \t")
		if n < 0 {
			n = len(text) - i
		}
		words = append(words, Token{Column: i + 1, Text: text[i : i+n]})
		i += n
	}
	return words
}

// text returns the file as it was read.
func (p *Policy) text() []byte {
	var b bytes.Buffer
	for _, line := range p.Lines {
		b.WriteString(line.Text)
		b.WriteString(line.End)
	}
	return b.Bytes()
}
