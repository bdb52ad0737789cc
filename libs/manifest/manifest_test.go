package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/manifest"
)

func TestTextsAreTakenApart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string // path, kind and JSON
	}{
		"one YAML document":     {"kind: A\nsize: 1\n", []string{`documents[0] A {"kind":"A","size":1}`}},
		"separators":            {"---\nkind: A\n---\n# nothing\n---\nkind: B\n---\n", []string{`documents[0] A {"kind":"A"}`, `documents[1] B {"kind":"B"}`}},
		"a comment behind one":  {"kind: A\n--- # next\nkind: B", []string{`documents[0] A {"kind":"A"}`, `documents[1] B {"kind":"B"}`}},
		"dashes in a text":      {"kind: A\nt: |\n  ---\n  x\n", []string{`documents[0] A {"kind":"A","t":"---\nx\n"}`}},
		"dashes in front":       {"kind: A\n---x: 1\n", []string{`documents[0] A {"---x":1,"kind":"A"}`}},
		"Windows lines":         {"kind: A\r\n---\r\nkind: B\r\n", []string{`documents[0] A {"kind":"A"}`, `documents[1] B {"kind":"B"}`}},
		"a byte order mark":     {"\ufeffkind: A\n", []string{`documents[0] A {"kind":"A"}`}},
		"JSON keeps its digits": {`{"kind":"A","n":9007199254740993.10}`, []string{`documents[0] A {"kind":"A","n":9007199254740993.10}`}},
		"a JSON stream":         {`{"kind":"A"} {"kind":"B"}`, []string{`documents[0] A {"kind":"A"}`, `documents[1] B {"kind":"B"}`}},
		"JSON among YAML":       {"{\"kind\":\"A\"}\n---\nkind: B", []string{`documents[0] A {"kind":"A"}`, `documents[1] B {"kind":"B"}`}},
		"YAML's braces":         {"{kind: A}", []string{`documents[0] A {"kind":"A"}`}},
		"a list":                {"kind: List\nitems: [{kind: A}, {kind: B}]", []string{`documents[0].items[0] A {"kind":"A"}`, `documents[0].items[1] B {"kind":"B"}`}},
		"a list of one kind":    {`{"kind":"AList","apiVersion":"v1","items":[{"n":1}]}`, []string{`documents[0].items[0] A {"n":1}`}},
		"a kind named List":     {"kind: PriceList\n", []string{`documents[0] PriceList {"kind":"PriceList"}`}},
		"an alias":              {"kind: A\na: &x {b: 1}\nc: *x", []string{`documents[0] A {"a":{"b":1},"c":{"b":1},"kind":"A"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			documents, faults := manifest.Split([]byte(tc.text))
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			var got []string
			for _, d := range documents {
				got = append(got, d.Path+" "+d.Kind+" "+string(d.JSON))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeReadIsNamedWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 " + strings.Repeat("x", 1<<16) + "\n"
	for i, last := range strings.Split("abcdefgh", "")[1:] {
		before := "*" + string("abcdefgh"[i]) + "0, "
		bomb += last + "0: &" + last + "0 [" + strings.Repeat(before, 9) + strings.TrimSuffix(before, ", ") + "]\n"
	}
	for name, tc := range map[string]struct {
		text string
		want []string
		rest int // documents that are read all the same
	}{
		"nothing":           {"", []string{"body: holds no document"}, 0},
		"only comments":     {"# a\n---\n# b\n", []string{"body: holds no document"}, 0},
		"not text":          {"a: \xff", []string{"body: is not valid UTF-8"}, 0},
		"a broken one":      {"kind: A\n---\npassword: [hunter2\n---\nkind: B\n", []string{"documents[1]: is not valid YAML at line 3"}, 2},
		"a doubled key":     {"kind: A\n---\nkind: B\nhunter2: 1\nhunter2: 2\n", []string{"documents[1]: has a key twice at line 5"}, 1},
		"broken JSON":       {`{"kind":"A","hunter2":"`, []string{"documents[0]: is not valid YAML"}, 0},
		"no object":         {"- hunter2\n---\nhunter2\n", []string{"documents[0]: must be an object", "documents[1]: must be an object"}, 0},
		"an item of a list": {"kind: List\nitems: [1, {kind: A}, {kind: List, items: []}]", []string{"documents[0].items[0]: must be an object", "documents[0].items[2]: is a list in a list"}, 1},
		"an alias bomb":     {bomb, []string{"documents[0]: its aliases make it larger than 16 MiB"}, 0},
		"one of itself":     {"a: &a [*a]\n", []string{"documents[0]: its aliases make it larger than 16 MiB"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			documents, faults := manifest.Split([]byte(tc.text))
			var got []string
			for _, f := range faults {
				got = append(got, f.Path+": "+f.Message)
				if strings.Contains(f.Message, "hunter2") {
					t.Errorf("the fault quotes the text: %s", f.Message)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || len(documents) != tc.rest {
				t.Errorf("%d documents, want %d (-want +got):\n%s", len(documents), tc.rest, diff)
			}
		})
	}
}
