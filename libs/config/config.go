// Package config reads settings: the environment first, flags override. One Set describes all settings of a program, parses them with
// every fault in one line each, and prints them without their secrets.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrHelp is returned by Parse when the arguments ask for help.
var ErrHelp = errors.New("help")

// Set is the settings of one program. Settings are printed in the order of their declaration.
type Set struct {
	program  string
	settings []*setting
}

type setting struct {
	name, usage  string
	text         string // the value in force
	set          func(text string) error
	required     bool
	secret, link bool
	boolean      bool
	choices      []string
}

// Option changes how one setting is read or shown.
type Option func(*setting)

// Required refuses an empty value.
func Required() Option { return func(s *setting) { s.required = true } }

// Secret never shows the value.
func Secret() Option { return func(s *setting) { s.secret = true } }

// Link shows the value, a URL or libpq keywords, without its password.
func Link() Option { return func(s *setting) { s.link = true } }

// OneOf refuses any other value.
func OneOf(choices ...string) Option { return func(s *setting) { s.choices = choices } }

// New returns an empty set for a program of this name.
func New(program string) *Set { return &Set{program: program} }

// String declares a text.
func (s *Set) String(target *string, name, value, usage string, options ...Option) {
	s.declare(name, value, usage, options, func(text string) error {
		*target = text
		return nil
	})
}

// Int declares a whole number of at least min.
func (s *Set) Int(target *int, name string, value, min int, usage string, options ...Option) {
	s.declare(name, strconv.Itoa(value), usage, options, func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < min {
			return fmt.Errorf("must be a whole number of at least %d", min)
		}
		*target = n
		return nil
	})
}

// Bool declares true or false. As a flag without a value it means true.
func (s *Set) Bool(target *bool, name string, value bool, usage string, options ...Option) {
	s.declare(name, strconv.FormatBool(value), usage, append(options, func(s *setting) { s.boolean = true }), func(text string) error {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("must be true or false")
		}
		*target = b
		return nil
	})
}

// Duration declares a Go duration above zero.
func (s *Set) Duration(target *time.Duration, name string, value time.Duration, usage string, options ...Option) {
	s.declare(name, value.String(), usage, options, func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return errors.New(`must be a duration above zero, such as "15m"`)
		}
		*target = d
		return nil
	})
}

// URL declares the address of an HTTP service.
func (s *Set) URL(target *string, name, value, usage string, options ...Option) {
	s.declare(name, value, usage, append(options, Link()), func(text string) error {
		u, err := url.Parse(text)
		if text != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "") {
			return errors.New("must be an address such as http://clusters:8080")
		}
		*target = text
		return nil
	})
}

// Func declares a setting that parse understands.
func (s *Set) Func(name, value, usage string, parse func(text string) error, options ...Option) {
	s.declare(name, value, usage, options, parse)
}

func (s *Set) declare(name, value, usage string, options []Option, set func(string) error) {
	next := &setting{name: name, text: value, usage: usage, set: set}
	for _, option := range options {
		option(next)
	}
	s.settings = append(s.settings, next)
}

// Parse takes the values from lookup (such as os.LookupEnv), then from args, and stores them all. It returns ErrHelp, or one error
// whose lines each name a setting and what is wrong with it. An empty value of the environment counts as absent.
func (s *Set) Parse(args []string, lookup func(string) (string, bool)) error {
	for _, next := range s.settings {
		if text, ok := lookup(next.name); ok && text != "" {
			next.text = text
		}
	}
	flags := flag.NewFlagSet(s.program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, next := range s.settings {
		flags.Var((*flagValue)(next), flagName(next.name), next.usage)
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return ErrHelp
	} else if err != nil {
		return fmt.Errorf("%w (%s -help lists the flags)", err, s.program)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not understood (%s -help lists the flags)", flags.Arg(0), s.program)
	}
	var faults []error
	for _, next := range s.settings {
		if err := next.store(); err != nil {
			faults = append(faults, fmt.Errorf("%s %w", next.name, err))
		}
	}
	return errors.Join(faults...)
}

func (s *setting) store() error {
	if s.required && s.text == "" {
		return fmt.Errorf("is required: %s", s.usage)
	}
	if s.choices != nil && !slices.Contains(s.choices, s.text) {
		return fmt.Errorf("must be one of %s", strings.Join(s.choices, ", "))
	}
	return s.set(s.text)
}

// flagValue makes a setting a flag.Value that only remembers its text, so that all faults are found in one place.
type flagValue setting

func (f *flagValue) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

func (f *flagValue) Set(text string) error {
	f.text = text
	return nil
}

func (f *flagValue) IsBoolFlag() bool { return f.boolean }

func flagName(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// Usage prints every setting with its default and its flag.
func (s *Set) Usage(w io.Writer) {
	for _, next := range s.settings {
		about := next.usage
		if len(next.choices) > 0 {
			about += " (" + strings.Join(next.choices, ", ") + ")"
		}
		if shown := next.shown(); shown != "" {
			about += " [" + shown + "]"
		}
		fmt.Fprintf(w, "  %s, -%s\n        %s\n", next.name, flagName(next.name), about)
	}
}

// LogValue shows every setting that has a value, redacted.
func (s *Set) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, next := range s.settings {
		if next.text != "" {
			attrs = append(attrs, slog.String(next.name, next.shown()))
		}
	}
	return slog.GroupValue(attrs...)
}

var (
	keywordPassword = regexp.MustCompile(`(?i)\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)
	linkPassword    = regexp.MustCompile(`(://[^/?#]*?:)[^/?#]*(@)`)
)

func (s *setting) shown() string {
	switch {
	case s.text == "":
		return ""
	case s.secret:
		return "(redacted)"
	case s.link:
		return Redact(s.text)
	}
	return s.text
}

// Redact takes the passwords out of a URL or of libpq keywords.
func Redact(link string) string {
	if u, err := url.Parse(link); err == nil && u.Scheme != "" && u.Host != "" {
		query := u.Query()
		for _, name := range []string{"password", "sslpassword"} {
			if query.Has(name) {
				query.Set(name, "xxxxx")
				u.RawQuery = query.Encode()
			}
		}
		return u.Redacted()
	}
	return keywordPassword.ReplaceAllString(linkPassword.ReplaceAllString(link, "${1}xxxxx${2}"), "${1}xxxxx")
}
