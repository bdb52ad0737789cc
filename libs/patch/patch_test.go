package patch_test

import (
	"encoding/json"
	"testing"

	"github.com/syncsets/syncsets/libs/patch"
)

func TestPatchesAreYAMLOrJSONOfTheirType(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ patchType, text, want, err string }{
		"strategic, JSON":           {"strategic", `{"a": 1.10, "b": 12345678901234567890}`, `{"a":1.10,"b":12345678901234567890}`, ""},
		"merge, YAML":               {"merge", "a:\n  b: null\n", `{"a":{"b":null}}`, ""},
		"a document start":          {"merge", "---\na: 1\n", `{"a":1}`, ""},
		"a dash in a text":          {"merge", "a: |\n  x\n  ---\n  y\n", `{"a":"x\n---\ny\n"}`, ""},
		"json, YAML":                {"json", "- op: remove\n  path: /a~1b\n", `[{"op":"remove","path":"/a~1b"}]`, ""},
		"json, JSON":                {"json", `[{"op":"add","path":"/a/-","value":null}]`, `[{"op":"add","path":"/a/-","value":null}]`, ""},
		"json, the whole":           {"json", `[{"op":"test","path":"","value":{}}]`, `[{"op":"test","path":"","value":{}}]`, ""},
		"empty":                     {"merge", " \n", "", "is empty"},
		"no syntax":                 {"merge", "a: [", "", "is neither JSON nor YAML: line 1: did not find expected node content"},
		"a key twice in JSON":       {"merge", `{"a":{"b":1,"b":2}}`, "", `duplicate field "a.b"`},
		"a key twice in YAML":       {"merge", "a: 1\na: 2\n", "", `is neither JSON nor YAML: line 2: key "a" already set in map`},
		"two documents":             {"merge", "a: 1\n---\nb: 2\n", "", "has more than one YAML document"},
		"a list for strategic":      {"strategic", `[]`, "", "a strategic patch must be an object"},
		"a text for merge":          {"merge", `a`, "", "a merge patch must be an object"},
		"null for merge":            {"merge", `null`, "", "a merge patch must be an object"},
		"an object for json":        {"json", `{}`, "", "a json patch must be a list of operations of RFC 6902"},
		"no operations":             {"json", `[]`, "", "has no operations"},
		"a text for an operation":   {"json", `["a"]`, "", "a json patch must be a list of operations of RFC 6902: objects with the texts op, path and from"},
		"an unknown op":             {"json", `[{"op":"set","path":"/a"}]`, "", "operation 0: op must be one of add, remove, replace, move, copy, test"},
		"no path":                   {"json", `[{"op":"remove","path":"/a"},{"op":"remove"}]`, "", "operation 1: path is required"},
		"a path that is none":       {"json", `[{"op":"remove","path":"a"}]`, "", "operation 0: path must be empty or begin with /"},
		"a path with a bare tilde":  {"json", `[{"op":"remove","path":"/~0/~"}]`, "", "operation 0: path may hold ~ only as ~0 and ~1"},
		"a path with an odd escape": {"json", `[{"op":"remove","path":"/~2"}]`, "", "operation 0: path may hold ~ only as ~0 and ~1"},
		"no value":                  {"json", `[{"op":"replace","path":"/a"}]`, "", "operation 0: value is required for replace"},
		"no from":                   {"json", `[{"op":"move","path":"/a"}]`, "", "operation 0: from is required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := patch.Decode(tc.text, tc.patchType)
			switch {
			case tc.err != "" && (err == nil || err.Error() != tc.err):
				t.Errorf("got %s, %v; want %s", got, err, tc.err)
			case tc.err == "" && (err != nil || string(got) != tc.want):
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func FuzzWhatIsDecodedIsJSONThatDecodesToItself(f *testing.F) {
	for _, text := range []string{`{"a":1}`, "a: 1", "- op: add\n  path: /a\n  value: 1", `[{"op":"move","from":"/a","path":"/b"}]`, "a: &x [1]\nb: *x", "---\n"} {
		for _, patchType := range []string{"strategic", "merge", "json"} {
			f.Add(text, patchType)
		}
	}
	f.Fuzz(func(t *testing.T, text, patchType string) {
		got, err := patch.Decode(text, patchType)
		if err != nil {
			return
		}
		again, err := patch.Decode(string(got), patchType)
		if !json.Valid(got) || err != nil || string(again) != string(got) {
			t.Errorf("got %s and then %s, %v", got, again, err)
		}
	})
}
