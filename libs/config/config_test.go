package config_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/config"
)

type settings struct {
	Name, Mode, Token, Link string
	Count                   int
	Verbose                 bool
	Every                   time.Duration
}

func declare(into *settings) *config.Set {
	s := config.New("program")
	s.String(&into.Name, "NAME", "", "what it is called", config.Required())
	s.String(&into.Mode, "SOME_MODE", "fast", "how it runs", config.OneOf("fast", "slow"))
	s.String(&into.Token, "TOKEN", "", "a secret", config.Secret())
	s.String(&into.Link, "LINK", "", "a link", config.Link())
	s.Int(&into.Count, "COUNT", 3, 1, "how many")
	s.Bool(&into.Verbose, "VERBOSE", false, "whether to talk")
	s.Duration(&into.Every, "EVERY", time.Minute, "how often")
	return s
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestSettingsComeFromEnvironmentThenFlags(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env  map[string]string
		args []string
		want settings
	}{
		"defaults":          {map[string]string{"NAME": "a"}, nil, settings{Name: "a", Mode: "fast", Count: 3, Every: time.Minute}},
		"empty is absent":   {map[string]string{"NAME": "a", "COUNT": ""}, nil, settings{Name: "a", Mode: "fast", Count: 3, Every: time.Minute}},
		"the environment":   {map[string]string{"NAME": "a", "COUNT": "4", "EVERY": "1s"}, nil, settings{Name: "a", Mode: "fast", Count: 4, Every: time.Second}},
		"flags override it": {map[string]string{"NAME": "a", "COUNT": "4"}, []string{"-count", "5", "-some-mode=slow", "-verbose"}, settings{Name: "a", Mode: "slow", Count: 5, Verbose: true, Every: time.Minute}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got settings
			if err := declare(&got).Parse(test.args, lookup(test.env)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryWrongSettingIsNamedInALine(t *testing.T) {
	t.Parallel()
	env := map[string]string{"SOME_MODE": "warp", "COUNT": "0", "VERBOSE": "maybe", "EVERY": "-1s", "TOKEN": "secret"}
	err := declare(&settings{}).Parse(nil, lookup(env))
	want := `NAME is required: what it is called
SOME_MODE must be one of fast, slow
COUNT must be a whole number of at least 1
VERBOSE must be true or false
EVERY must be a duration above zero, such as "15m"`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	for _, args := range [][]string{{"-unknown"}, {"stray"}} {
		if err := declare(&settings{}).Parse(args, lookup(map[string]string{"NAME": "a"})); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if err := declare(&settings{}).Parse([]string{"-help"}, lookup(nil)); !errors.Is(err, config.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	links := map[string]string{
		"a URL":                       "postgres://user:hunter2@host:5432/db?sslmode=disable",
		"a URL with a parameter":      "postgres://host/db?user=x&password=hunter2",
		"a URL with an odd password":  "amqp://user:hunter2%zz@host/",
		"keywords":                    "host=x user=y password=hunter2 dbname=z",
		"keywords with quotes":        `host=x password = 'hunter2 hunter2\' hunter2' dbname=z`,
		"the password of a key":       "host=x sslpassword=hunter2",
		"a password beside a keyword": "host=x PASSWORD=hunter2",
	}
	for name, link := range links {
		if shown := config.Redact(link); strings.Contains(shown, "hunter2") {
			t.Errorf("%s is shown as %s", name, shown)
		}
	}
	set := declare(&settings{})
	if err := set.Parse(nil, lookup(map[string]string{"NAME": "a", "TOKEN": "hunter2", "LINK": links["a URL"]})); err != nil {
		t.Fatal(err)
	}
	var log, usage strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("starting", "settings", set)
	set.Usage(&usage)
	for _, text := range []string{log.String(), usage.String()} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "(redacted)") || !strings.Contains(text, "user:xxxxx@host") {
			t.Errorf("shown: %s", text)
		}
	}
}
