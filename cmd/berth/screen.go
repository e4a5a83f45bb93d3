package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// screen prints for people: colours and progress on a terminal, plain lines elsewhere.
type screen struct {
	out, errOut io.Writer
	colour      bool
	live        bool // progress is drawn over itself
	mu          sync.Mutex
	drawn       time.Time
	open        bool // a progress line stands on the screen
}

func newScreen(e *env, colour string) *screen {
	s := &screen{out: e.out, errOut: e.errOut, live: terminal(e.errOut)}
	s.colour = colour == "always" || colour == "auto" && terminal(e.out) && os.Getenv("NO_COLOR") == ""
	return s
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// The colours, as ANSI escape sequences say them.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
	faint  = "2"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) print(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.out, format, args...)
}

const barWidth = 30

// progress draws how far something is, at most ten times a second.
func (s *screen) progress(what string, done, total int) {
	if !s.live || total == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if done < total && time.Since(s.drawn) < 100*time.Millisecond {
		return
	}
	s.drawn, s.open = time.Now(), true
	full := barWidth * done / total
	fmt.Fprintf(s.errOut, "\r\x1b[K%s [%s%s] %d/%d", what, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), done, total)
}

// clear takes the progress line away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		fmt.Fprint(s.errOut, "\r\x1b[K")
		s.open = false
	}
}
