package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestParseReadsTheEnvironmentAndFlagsOverrideIt(t *testing.T) {
	t.Parallel()
	env := map[string]string{"PORT": "7071", "EXIT": "1", "KUBECONFIG": "/k", "DEVSTACK": "containers"}
	got, err := parse([]string{"demo", "-port", "7072", "-end-with-parent"}, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		command: "demo", port: 7072, dataDir: ".data", parts: devstack.Setting{Way: devstack.Containers}, kubeconfig: "/k", exit: true, withParent: true, run: []string{},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestParseNamesTheWrongSetting(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		env  map[string]string
		want string
	}{
		{"no command", nil, nil, "usage: devstack run|demo"},
		{"an unknown command", []string{"walk"}, nil, "usage: devstack run|demo"},
		{"a port that is a word", []string{"run"}, map[string]string{"PORT": "http"}, "PORT=http"},
		{"a port out of range", []string{"run"}, map[string]string{"PORT": "70000"}, "PORT=70000"},
		{"share without a command", []string{"share"}, nil, "share needs a command"},
		{"run with a command", []string{"run", "ls"}, nil, "share needs a command"},
		{"an EXIT that is neither", []string{"demo"}, map[string]string{"EXIT": "maybe"}, "EXIT=maybe"},
		{"an unknown way", []string{"run"}, map[string]string{"DEVSTACK": "cloud"}, "DEVSTACK=cloud"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(c.args, func(name string) string { return c.env[name] })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}
