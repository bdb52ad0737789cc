package templating_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/templating"
)

var cluster = templating.Cluster{Namespace: "foo", Name: "one", Labels: map[string]string{"region": "eu", "none": ""}}

func render(text string, empty bool, p templating.Place) (string, error) {
	t, err := templating.Parse(text)
	if err != nil {
		return "", err
	}
	return templating.NewRun(cluster, empty).Render(t, p)
}

func TestTemplatesKnowTheClusterAndSprig(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"no template":                  {`plain`, `plain`},
		"nothing":                      {``, ``},
		"a label":                      {`in {{ fromClusterLabel "region" }}`, `in eu`},
		"a label by Hive's name":       {`{{fromCDLabel "region"}}`, `eu`},
		"an empty label":               {`<{{fromClusterLabel "none"}}>`, `<>`},
		"name and namespace":           {`{{clusterNamespace}}/{{clusterName}}`, `foo/one`},
		"a pipeline":                   {`{{fromClusterLabel "region" | upper | quote}}`, `"EU"`},
		"a condition":                  {`{{if eq (fromClusterLabel "region") "eu"}}a{{else}}b{{end}}`, `a`},
		"a loop":                       {`{{range $i, $x := list "a" "b"}}{{$i}}{{$x}}{{end}}`, `0a1b`},
		"a loop over a number":         {`{{range $i := 3}}{{$i}}{{end}}`, `012`},
		"a loop that is left":          {`{{range $i := 9}}{{if eq $i 2}}{{break}}{{end}}{{$i}}{{end}}`, `01`},
		"a definition":                 {`{{define "x"}}<{{.}}>{{end}}{{template "x" "y"}}`, `<y>`},
		"braces":                       {`{{"{{"}} $labels.x {{"}}"}}`, `{{ $labels.x }}`},
		"keys in order":                {`{{keys (dict "c" 1 "a" 2 "b" 3) | join ","}}`, `a,b,c`},
		"a dict as JSON":               {`{{dict "b" 1 "a" (list 1 2) | toJson}}`, `{"a":[1,2],"b":1}`},
		"printf":                       {`{{printf "%05.1f|%-4s|%d%%" 2.25 "a" 7}}`, `002.2|a   |7%`},
		"indentation":                  {`{{"a\nb" | nindent 2}}`, "\n  a\n  b"},
		"replacement":                  {`{{"a.b" | replace "." "-"}}`, `a-b`},
		"repetition":                   {`{{"ab" | repeat 3}}`, `ababab`},
		"numbers":                      {`{{add 1 2}} {{until 3}} {{seq 1 3}} {{untilStep 0 6 2}}`, `3 [0 1 2] 1 2 3 [0 2 4]`},
		"regular expressions":          {`{{regexReplaceAll "a(b)" "xaby" "<${1}>"}}`, `x<b>y`},
		"a version":                    {`{{semverCompare ">=1.2" "1.3.0"}} {{(semver "1.2.3").Minor}}`, `true 2`},
		"a default for an empty value": {`{{fromClusterLabel "none" | default "x"}}`, `x`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := render(tc.text, false, templating.Identity)
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestAMissingLabelIsAFaultOrEmptyButAlwaysAFaultInAnIdentity(t *testing.T) {
	t.Parallel()
	const fault = `line 1: the cluster has no label "zone"`
	for name, tc := range map[string]struct {
		empty     bool
		place     templating.Place
		want, err string
	}{
		"a value, Error":     {false, templating.Value, "", fault},
		"a value, Empty":     {true, templating.Value, "a-", ""},
		"an identity, Error": {false, templating.Identity, "", fault},
		"an identity, Empty": {true, templating.Identity, "", fault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := render(`a-{{fromClusterLabel "zone" | trunc 3}}`, tc.empty, tc.place)
			if got != tc.want || message(err) != tc.err {
				t.Errorf("got %q, %v", got, err)
			}
			var f *templating.Fault
			if tc.err != "" && (!errors.As(err, &f) || f.Label != "zone") {
				t.Errorf("got %#v, want the label named", err)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWhatCannotBeParsedIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"an end too many":     {"a\n{{end}}", `line 2: unexpected {{end}}`},
		"no end":              {"{{if true}}", `line 1: unexpected EOF`},
		"an unknown function": {`{{foo}}`, `line 1: function "foo" not defined`},
		"the environment":     {`{{env "HOME"}}`, `line 1: function "env" not defined`},
		"the time":            {`{{now}}`, `line 1: function "now" not defined`},
		"a random value":      {`{{randAlphaNum 5}}`, `line 1: function "randAlphaNum" not defined`},
		"a uuid":              {`{{uuidv4}}`, `line 1: function "uuidv4" not defined`},
		"an order of chance":  {`{{shuffle "abc"}}`, `line 1: function "shuffle" not defined`},
		"a key":               {`{{genPrivateKey "rsa"}}`, `line 1: function "genPrivateKey" not defined`},
		"the network":         {`{{getHostByName "a"}}`, `line 1: function "getHostByName" not defined`},
		"a counter":           {`{{countLeave}}`, `line 1: function "countLeave" not defined`},
		"a variable":          {`{{ $labels.instance }}`, `line 1: undefined variable "$labels"`},
		"too many actions":    {strings.Repeat(`{{1}}`, 10_001), `has more than 10000 actions`},
		"too long an action":  {`{{print ` + strings.Repeat(`1 `, 1001) + `}}`, `line 1: an action has more than 1000 parts`},
		"too deep":            {`{{` + strings.Repeat(`(`, 20_000) + `1` + strings.Repeat(`)`, 20_000) + `}}`, `line 1: max expression depth exceeded`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := templating.Parse(tc.text); message(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestWhatCannotBeRenderedIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"a fault of its own":    {"\n{{fail \"not here\"}}", `line 2: not here`},
		"no such field":         {`{{.Foo}}`, `line 1: nil data; no entry for key "Foo"`},
		"no such key":           {`{{(dict "a" 1).b}}`, `line 1: map has no entry for key "b"`},
		"no value":              {`{{.}}`, `an expression has no value`},
		"no such template":      {`{{template "x"}}`, `line 1: template "x" not defined`},
		"a panic in a function": {`{{repeat -1 "x"}}`, `line 1: strings: negative Repeat count`},
		"an address":            {`{{printf "%p" (list 1)}}`, `line 1: printf does not support %p and *`},
		"a width from outside":  {`{{printf "%*d" 9 1}}`, `line 1: printf does not support %p and *`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := render(tc.text, false, templating.Value); message(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestAFaultCanBeToldWithoutValues(t *testing.T) {
	t.Parallel()
	_, err := render("\n{{fail \"hunter2\"}}", false, templating.Value)
	var f *templating.Fault
	if !errors.As(err, &f) || f.Terse() != "line 2: the template fails" {
		t.Errorf("got %#v", f)
	}
}

func TestRenderingIsBounded(t *testing.T) {
	t.Parallel()
	const steps, output = "the templates take more than 50000 steps", "the output is larger than 1 MiB"
	const work, estimate = "the functions of the templates work on more than 64 MiB", "a function could make more than 8 MiB"
	for name, tc := range map[string]struct{ text, want string }{
		"a long loop":            {`{{range 1000000000000}}{{end}}`, steps},
		"loops in loops":         {`{{range until 10000}}{{range until 10000}}{{range until 10000}}{{end}}{{end}}{{end}}`, steps},
		"a loop that writes":     {`{{range 1000000000000}}` + strings.Repeat("x", 1000) + `{{end}}`, output},
		"recursion":              {`{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`, "more than 100 templates call one another"},
		"branching recursion":    {`{{define "x"}}{{if lt . 60}}{{template "x" (add1 .)}}{{template "x" (add1 .)}}{{end}}{{end}}{{template "x" 0}}`, steps},
		"a large list":           {`{{until 1000000000}}`, estimate},
		"a large list of steps":  {`{{untilStep 0 1000000000 3}}`, estimate},
		"a large sequence":       {`{{seq 1 1000000000}}`, estimate},
		"a repetition":           {`{{repeat 1000000000 "x"}}`, estimate},
		"an indentation":         {`{{indent 1000000000 "x"}}`, estimate},
		"a width":                {`{{printf "` + strings.Repeat("%1000000d", 20) + `" 1}}`, estimate},
		"one argument often":     {`{{$x := repeat 500000 "x"}}{{printf "` + strings.Repeat("%[1]s", 100) + `" $x}}`, estimate},
		"a large value":          {`{{$x := repeat 2000000 "x"}}`, "a function makes more than 1 MiB"},
		"doubling":               {`{{$x := "xxxxxxxx"}}{{range 40}}{{$x = print $x $x}}{{end}}`, "a function makes more than 1 MiB"},
		"much work":              {`{{$x := repeat 1000000 "x"}}{{range 1000}}{{$y := upper $x}}{{end}}`, work},
		"a growing replacement":  {`{{$x := repeat 100000 "x"}}{{replace "x" $x $x}}`, estimate},
		"a growing substitution": {`{{$x := repeat 100000 "x"}}{{regexReplaceAll "x*" $x "` + strings.Repeat("$0", 1000) + `"}}`, estimate},
		"a growing join":         {`{{join (repeat 100000 "x") (until 10000)}}`, estimate},
		"deep JSON":              {`{{toPrettyJson (fromJson (print (repeat 5000 "[") (repeat 5000 "]")))}}`, estimate},
		"a list of lists":        {`{{$x := list 1}}{{range 40}}{{$x = list $x $x}}{{end}}`, "a function makes more than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			if _, err := render(tc.text, false, templating.Value); message(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("took %s: the bound was the deadline", took)
			}
		})
	}
}

func TestTheBoundsAreOfAWholeRun(t *testing.T) {
	t.Parallel()
	text, err := templating.Parse(`{{repeat 900000 "x"}}`)
	if err != nil {
		t.Fatal(err)
	}
	run := templating.NewRun(cluster, false)
	for n := range 4 {
		_, err := run.Render(text, templating.Value)
		if n < 3 && err != nil {
			t.Fatal(err)
		}
		if n == 3 && message(err) != "the output of all templates is larger than 3 MiB" {
			t.Errorf("got %v", err)
		}
	}
}

func TestATemplateIsStaticUnlessItAsksForTheCluster(t *testing.T) {
	t.Parallel()
	got := map[string]bool{}
	for _, text := range []string{
		`a`, `{{upper "a"}}`, `{{clusterName}}`, `{{if true}}{{else}}{{(fromCDLabel "a")}}{{end}}`, `{{define "x"}}{{clusterNamespace}}{{end}}`,
	} {
		parsed, err := templating.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got[text] = parsed.Static()
	}
	want := map[string]bool{
		`a`: true, `{{upper "a"}}`: true, `{{clusterName}}`: false, `{{if true}}{{else}}{{(fromCDLabel "a")}}{{end}}`: false,
		`{{define "x"}}{{clusterNamespace}}{{end}}`: false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzTemplatesEndAndSayTheSameEveryTime(f *testing.F) {
	for _, text := range []string{
		`{{fromClusterLabel "region" | upper}}`, `{{range $i := until 5}}{{$i}}{{end}}`, `{{printf "%[1]*d %x" 3 "a"}}`, `{{define "a"}}{{template "a"}}{{end}}`,
		`{{with dict "a" (list 1 2)}}{{.a | toPrettyJson}}{{end}}`, `{{regexReplaceAll "(a)" "aaa" "$1$1"}}`, `{{index (fromJson "[1,2]") 1}}`, `{{`, `{{/* x */}}`,
		`{{if and true (not false)}}{{else if 1}}{{end}}`, `{{range 3}}{{continue}}{{end}}`, `{{wrapWith 3 "\t" "abc def"}}`, `{{slice (list 1 2 3) 1 2}}`,
	} {
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, empty bool) {
		began := time.Now()
		first, err := render(text, empty, templating.Value)
		second, again := render(text, empty, templating.Value)
		if first != second || message(err) != message(again) {
			t.Errorf("got %q, %v and then %q, %v", first, err, second, again)
		}
		if len(first) > 1<<20 || time.Since(began) > 20*time.Second {
			t.Errorf("took %s for %d bytes", time.Since(began), len(first))
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("a long message: %s", err)
		}
	})
}
