package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxSize is the maximum size of a policy in bytes. The kernel's limit is 2 GiB, but the
// largest policies in use have a few kilobytes.
const MaxSize = 1 << 20

// ErrTooLarge means that a file is larger than MaxSize.
var ErrTooLarge = errors.New("larger than 1 MiB: this is not a policy")

// Policy is a policy file. Its bytes are the concatenation of its lines.
type Policy struct {
	Lines []Line
}

// Line is one line of the file.
type Line struct {
	Number int     // from 1
	Text   string  // without the newline
	End    string  // "\n", or "" for a last line without one
	Words  []Token // the words of a rule; none for a comment or an empty line
}

// Token is a word of a line. Words are separated by spaces and tabs.
type Token struct {
	Column int // of its first byte, in bytes from 1
	Text   string
}

// Parse reads a policy. It accepts any content: [Check] reports what the kernel would refuse.
// The only error is [ErrTooLarge].
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

// Read reads a policy from r as [Parse] does.
func Read(r io.Reader) (*Policy, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return Parse(data)
}

// split splits a line at spaces and tabs, as ima_parse_rule does. A line is a comment if its
// first word begins with #. For the kernel a later # does not begin a comment. A NUL ends the
// line.
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
