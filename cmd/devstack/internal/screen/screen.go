// Package screen prints what a long-running command is doing: one line per event with the time since the start. It reads well in a
// pipe; colours appear on a terminal only, and never when NO_COLOR is set.
package screen

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Screen prints lines from any number of goroutines without mixing them.
type Screen struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
	start  time.Time
}

// New returns a Screen that prints to f and counts from now.
func New(f *os.File, noColour bool) *Screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &Screen{w: f, colour: terminal && !noColour, start: time.Now()}
}

// Step says what a part is doing.
func (s *Screen) Step(part, format string, args ...any) {
	s.line("2", "", part, fmt.Sprintf(format, args...))
}

// Warn says what went wrong with a part.
func (s *Screen) Warn(part, format string, args ...any) {
	s.line("2", "33", part, fmt.Sprintf(format, args...))
}

// Print prints lines for the reader, without time.
func (s *Screen) Print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.w, format+"\n", args...)
}

// Title prints a line that stands out on a terminal.
func (s *Screen) Title(format string, args ...any) {
	s.Print("%s", s.paint("1", fmt.Sprintf(format, args...)))
}

// Good paints text green on a terminal.
func (s *Screen) Good(text string) string { return s.paint("32", text) }

// Since returns how long ago the Screen was made.
func (s *Screen) Since() time.Duration { return time.Since(s.start) }

// Writer returns a writer that prints each line written to it as a step of part.
func (s *Screen) Writer(part string) io.Writer { return &lines{screen: s, part: part} }

func (s *Screen) line(timeStyle, style, part, text string) {
	at := s.paint(timeStyle, fmt.Sprintf("%6.1f s", s.Since().Seconds()))
	s.Print("%s  %-11s %s", at, part, s.paint(style, text))
}

func (s *Screen) paint(style, text string) string {
	if !s.colour || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// lines cuts a stream into lines.
type lines struct {
	mu      sync.Mutex
	screen  *Screen
	part    string
	pending []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, p...)
	for {
		line, rest, found := bytes.Cut(l.pending, []byte("\n"))
		if !found {
			return len(p), nil
		}
		// libs/devstack names itself and the part; the part has a column of its own here.
		text := strings.TrimPrefix(string(bytes.TrimSpace(line)), "devstack: "+l.part+": ")
		if text != "" {
			l.screen.Step(l.part, "%s", text)
		}
		l.pending = rest
	}
}
