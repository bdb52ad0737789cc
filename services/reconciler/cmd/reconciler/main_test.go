package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/libs/service"
)

// run runs the command line with only these settings in its environment.
func run(settings map[string]string, args ...string) (code int, stderr string) {
	var out bytes.Buffer
	lookup := func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}
	code = service.Main(spec(), service.Environment{Args: args, Lookup: lookup, Stdout: &out, Stderr: &out})
	return code, out.String()
}

// Each wrong setting is one line that names it, and nothing is started.
func TestMissingAndWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"POSTGRES_PARAMS": "postgres://127.0.0.1/x", "SEAL_KEYS": seal.Generate(),
		"CLUSTERS_INTERNAL_URL": "http://127.0.0.1:7271", "SYNCSETS_INTERNAL_URL": "http://127.0.0.1:7272",
	}
	tests := map[string]struct {
		wrong map[string]string // an empty value takes the setting away
		lines []string          // how each line goes on after the service's name
	}{
		"a role that is none":           {map[string]string{"ROLES": "plan,fly"}, []string{`ROLES "fly" is not a role`}},
		"an empty role":                 {map[string]string{"ROLES": "plan,,work"}, []string{`ROLES "" is not a role`}},
		"no workers":                    {map[string]string{"WORKERS": "0"}, []string{"WORKERS must be"}},
		"workers that are no number":    {map[string]string{"WORKERS": "many"}, []string{"WORKERS must be"}},
		"a budget without a share":      {map[string]string{"DELETION_BUDGET": "5"}, []string{"DELETION_BUDGET "}},
		"a budget over everything":      {map[string]string{"DELETION_BUDGET": "5,101%"}, []string{"DELETION_BUDGET "}},
		"a budget below nothing":        {map[string]string{"DELETION_BUDGET": "-1,10%"}, []string{"DELETION_BUDGET "}},
		"addresses that are none":       {map[string]string{"TARGET_DENY_CIDRS": "10.0.0.0/8,here"}, []string{"TARGET_DENY_CIDRS "}},
		"shared targets, perhaps":       {map[string]string{"SHARED_TARGETS": "perhaps"}, []string{"SHARED_TARGETS must be"}},
		"an interval without a unit":    {map[string]string{"REAPPLY_INTERVAL": "2"}, []string{"REAPPLY_INTERVAL "}},
		"loopback targets, perhaps":     {map[string]string{"ALLOW_LOOPBACK_TARGETS": "perhaps"}, []string{"ALLOW_LOOPBACK_TARGETS must be"}},
		"no clusters service":           {map[string]string{"CLUSTERS_INTERNAL_URL": ""}, []string{"CLUSTERS_INTERNAL_URL is required"}},
		"no syncsets service":           {map[string]string{"SYNCSETS_INTERNAL_URL": ""}, []string{"SYNCSETS_INTERNAL_URL is required"}},
		"an address of another scheme":  {map[string]string{"SYNCSETS_INTERNAL_URL": "ftp://x"}, []string{"SYNCSETS_INTERNAL_URL "}},
		"no keys":                       {map[string]string{"SEAL_KEYS": ""}, []string{"SEAL_KEYS is required"}},
		"several faults, one line each": {map[string]string{"WORKERS": "0", "ROLES": "x"}, []string{"ROLES ", "WORKERS "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(good)
			maps.Copy(settings, tt.wrong)
			maps.DeleteFunc(settings, func(_, value string) bool { return value == "" })
			code, stderr := run(settings)
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if code != 2 || len(lines) != len(tt.lines) {
				t.Fatalf("exit code %d, want 2 and %d lines\n%s", code, len(tt.lines), stderr)
			}
			for i, want := range tt.lines {
				if !strings.HasPrefix(lines[i], "reconciler: "+want) {
					t.Errorf("line %d is %q, want it to begin with %q", i, lines[i], want)
				}
			}
		})
	}
}
