package screen_test

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
)

// printed returns what f prints to a Screen in a pipe.
func printed(t *testing.T, f func(*screen.Screen)) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f(screen.New(w, false))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPipeGetsNoColours(t *testing.T) {
	t.Parallel()
	got := printed(t, func(s *screen.Screen) {
		s.Title("title")
		s.Warn("part", "broken")
		s.Print("%s", s.Good("fine"))
	})
	if strings.Contains(got, "\x1b") {
		t.Errorf("escape sequences in %q", got)
	}
}

func TestAWriterPrintsWholeLines(t *testing.T) {
	t.Parallel()
	got := printed(t, func(s *screen.Screen) {
		w := s.Writer("postgres")
		_, _ = fmt.Fprint(w, "devstack: postgres: first li")
		_, _ = fmt.Fprint(w, "ne\n\nsecond\nunfinished")
	})
	want := regexp.MustCompile(`^ +\d+\.\d s  postgres    first line\n +\d+\.\d s  postgres    second\n$`)
	if !want.MatchString(got) {
		t.Errorf("got %q", got)
	}
}
