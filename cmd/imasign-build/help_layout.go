package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// section writes a table of two columns under a title.
func section(b *strings.Builder, title string, rows [][2]string, width int) {
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n" + title + ":\n")
	const gap, narrowest, indent = 3, 30, 10
	column := 0
	for _, row := range rows {
		column = max(column, utf8.RuneCountInString(row[0])+gap)
	}
	below := width-column < narrowest // descriptions go below the names
	if below {
		column = indent
	}
	for _, row := range rows {
		b.WriteString(row[0])
		if below {
			b.WriteString("\n" + strings.Repeat(" ", column))
		} else {
			b.WriteString(strings.Repeat(" ", column-utf8.RuneCountInString(row[0])))
		}
		b.WriteString(wrap(row[1], width, column))
	}
}

// An item of a list in a text: a name, two spaces or more, and a description.
var listItem = regexp.MustCompile(`^( +\S+(?: \S+)*  +)(\S.*)$`)

// reflow wraps a text. It fills paragraphs, keeps the columns of lists (indented lines
// with a name and a description), and leaves other indented lines alone.
func reflow(text string, width int) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if paragraph != nil {
			b.WriteString(wrap(strings.Join(paragraph, " "), width, 0))
		}
		paragraph = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch item := listItem.FindStringSubmatch(line); {
		case line == "":
			flush()
			b.WriteString("\n")
		case item != nil:
			flush()
			const narrowest, indent = 30, 6
			column := utf8.RuneCountInString(item[1])
			if width-column < narrowest {
				column = indent
				item[1] = strings.TrimRight(item[1], " ") + "\n" + strings.Repeat(" ", column)
			}
			b.WriteString(item[1] + wrap(item[2], width, column))
		case line[0] == ' ':
			flush()
			b.WriteString(line + "\n")
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return b.String()
}

// wrap breaks a paragraph into lines that end before width. All lines but the first are
// indented to column, where the first one already is.
func wrap(text string, width, column int) string {
	var b strings.Builder
	at := column
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+size <= width:
			b.WriteString(" ")
			at++
		default:
			b.WriteString("\n" + strings.Repeat(" ", column))
			at = column
		}
		b.WriteString(word)
		at += size
	}
	return b.String() + "\n"
}
