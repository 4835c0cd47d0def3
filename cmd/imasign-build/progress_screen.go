package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// screen is standard error as several goroutines write to it: the progress line, text
// above that line, and prompts, which nothing may write over. The zero value is ready.
type screen struct {
	mu     sync.Mutex
	drawn  string // the line on the terminal; "" for none
	asking int    // prompts on the terminal: nothing is drawn, and text waits
	held   []byte // that text
}

// maxHeld bounds the text that waits for an answer, in bytes.
const maxHeld = 1 << 20

const (
	lineStart = "\r"
	lineErase = "\x1b[K" // from the cursor to the end of the line (ECMA-48 EL)
)

// draw replaces the line. It writes nothing if the line is on the terminal already.
func (s *screen) draw(w io.Writer, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking > 0 || line == s.drawn {
		return
	}
	s.drawn = line
	_, _ = io.WriteString(w, lineStart+line+lineErase) // nobody could be told
}

// erase takes the line off the terminal.
func (s *screen) erase(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(w, s.without("")) // nobody could be told
}

// print writes text, whole lines, above the line. While somebody is asked, text waits.
func (s *screen) print(w io.Writer, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking > 0 {
		if len(s.held)+len(text) <= maxHeld {
			s.held = append(s.held, text...)
		}
		return
	}
	line := s.drawn
	text = s.without(text)
	if s.drawn = line; line != "" {
		text += line
	}
	_, _ = io.WriteString(w, text) // nobody could be told
}

// without returns what writes text in place of the line. s.mu is held.
func (s *screen) without(text string) string {
	if s.drawn != "" {
		s.drawn = ""
		return lineStart + lineErase + text
	}
	return text
}

// ask takes the line off the terminal and keeps it free for a prompt until answered is
// called.
func (s *screen) ask(w io.Writer) (answered func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking++
	_, _ = io.WriteString(w, s.without("")) // nobody could be told
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asking--; s.asking == 0 {
			_, _ = w.Write(s.held) // nobody could be told
			s.held = nil
		}
	}
}

// fallbackColumns is the width of a terminal that does not tell.
const fallbackColumns = 80

// columns returns the width of the terminal behind w, 0 if this process is in its
// background and must not draw.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return fallbackColumns
	}
	fd := int(f.Fd())
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil || width <= 0 {
		return fallbackColumns
	}
	return width
}
