package selector_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/selector"
)

func TestParseReadsTheSyntaxOfKubernetes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b,c)", "a", "!a", "a>5", "a<5", "x/y=z,!b,c in (,d)"} {
		s, err := selector.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		want, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != want.String() {
			t.Errorf("Parse(%q) = %q, want %q", text, s, want)
		}
	}
}

func TestParseRefusesWhatKubernetesRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a in b", "a=b c", "-a", "a=" + strings.Repeat("x", 64), "a>x", "(", "a in ()x"} {
		if _, err := selector.Parse(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("Parse(%q) = %v, want an invalid error", text, err)
		}
	}
}

func TestTheZeroSelectorMatchesEverything(t *testing.T) {
	t.Parallel()
	var s selector.Selector
	if where, args := s.SQL("labels", 1); where != "true" || len(args) != 0 || !s.Matches(nil) || !s.Empty() {
		t.Errorf("zero selector: SQL %q %v, matches %v, empty %v", where, args, s.Matches(nil), s.Empty())
	}
}

func TestFromAPIListsAllFaultsWithTheirPaths(t *testing.T) {
	t.Parallel()
	_, err := selector.FromAPI(v1.LabelSelector{
		MatchLabels: map[string]string{"bad key": "v", "ok": "bad value!"},
		MatchExpressions: []v1.SelectorRequirement{
			{Key: "a", Operator: "in", Values: []string{"b"}},
			{Key: "a", Operator: "In"},
			{Key: "a", Operator: "Exists", Values: []string{"b"}},
			{Key: "a", Operator: "NotIn", Values: []string{"fine", "not fine"}},
			{Key: "", Operator: "DoesNotExist"},
		},
	})
	var got []string
	for _, f := range faults(err) {
		got = append(got, f.Path)
		if f.Message == "" {
			t.Errorf("%s has no message", f.Path)
		}
	}
	want := []string{
		"matchLabels[bad key]", "matchLabels[ok]", "matchExpressions[0].operator", "matchExpressions[1].values",
		"matchExpressions[2].values", "matchExpressions[3].values[1]", "matchExpressions[4].key",
	}
	if diff := cmp.Diff(want, dedup(got)); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestASelectorOfTooManyTermsIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := selector.Parse(strings.TrimSuffix(strings.Repeat("n>1,", 100), ",")); err != nil {
		t.Errorf("100 terms: %v", err)
	}
	if _, err := selector.Parse(strings.TrimSuffix(strings.Repeat("n>1,", 101), ",")); !errs.Is(err, errs.Invalid) {
		t.Errorf("101 terms: got %v, want invalid", err)
	}
	many := make([]v1.SelectorRequirement, 101)
	for i := range many {
		many[i] = v1.SelectorRequirement{Key: "n", Operator: "Exists"}
	}
	_, err := selector.FromAPI(v1.LabelSelector{MatchExpressions: many})
	if got := faults(err); len(got) != 1 || got[0].Path != "matchExpressions" {
		t.Errorf("101 expressions: got %v", err)
	}
}

func faults(err error) []errs.Field {
	if e := (*errs.Error)(nil); errors.As(err, &e) {
		return e.Fields
	}
	return nil
}

func dedup(list []string) []string {
	var out []string
	for _, s := range list {
		if len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
	}
	return out
}

// generator makes labels and selectors from a small alphabet, so that they meet often.
type generator struct{ *rand.Rand }

func (g generator) key() string { return []string{"app", "tier", "example.com/zone", "n"}[g.IntN(4)] }

func (g generator) value() string {
	return []string{"", "a", "b", "a.b", "7", "12", "0012", "x_9"}[g.IntN(8)]
}

func (g generator) labels() map[string]string {
	set := map[string]string{}
	for range g.IntN(4) {
		set[g.key()] = g.value()
	}
	return set
}

func (g generator) values() []string {
	values := []string{g.value()}
	for range g.IntN(3) {
		values = append(values, g.value())
	}
	return values
}

// text is a selector as a query parameter.
func (g generator) text() string {
	var terms []string
	for range g.IntN(4) {
		key, values := g.key(), strings.Join(g.values(), ",")
		terms = append(terms, []string{
			key, "!" + key, key + "=" + g.value(), key + "!=" + g.value(), key + " in (" + values + ")", key + " notin (" + values + ")",
			fmt.Sprintf("%s>%d", key, g.IntN(20)), fmt.Sprintf("%s<%d", key, g.IntN(20)),
		}[g.IntN(8)])
	}
	return strings.Join(terms, ",")
}

// api is a selector as a document.
func (g generator) api() v1.LabelSelector {
	s := v1.LabelSelector{MatchLabels: map[string]string{}}
	for range g.IntN(3) {
		s.MatchLabels[g.key()] = g.value()
	}
	for range g.IntN(3) {
		e := v1.SelectorRequirement{Key: g.key(), Operator: []string{"In", "NotIn", "Exists", "DoesNotExist"}[g.IntN(4)]}
		if strings.HasSuffix(e.Operator, "In") {
			e.Values = g.values()
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func TestMatchesMeansWhatKubernetesMeans(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	for range 20_000 {
		set := g.labels()
		text := g.text()
		want, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := selector.Parse(text)
		if err != nil || got.Matches(set) != want.Matches(labels.Set(set)) {
			t.Fatalf("%q on %v: got %v, %v; Kubernetes says %v", text, set, got.Matches(set), err, want.Matches(labels.Set(set)))
		}
		api := g.api()
		wantAPI, err := metav1.LabelSelectorAsSelector(kubernetes(api))
		if err != nil {
			t.Fatal(err)
		}
		gotAPI, err := selector.FromAPI(api)
		if err != nil || gotAPI.Matches(set) != wantAPI.Matches(labels.Set(set)) {
			t.Fatalf("%+v on %v: got %v, %v; Kubernetes says %v", api, set, gotAPI.Matches(set), err, wantAPI.Matches(labels.Set(set)))
		}
	}
}

func kubernetes(s v1.LabelSelector) *metav1.LabelSelector {
	k := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		k.MatchExpressions = append(k.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values,
		})
	}
	return k
}

func TestIndexHoldsKeysAndPairs(t *testing.T) {
	t.Parallel()
	got := selector.Index(map[string]string{"b": "", "a": "1"})
	if diff := cmp.Diff([]string{"a", "a=1", "b", "b="}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if selector.Index(nil) == nil {
		t.Error("Index(nil) is nil: the column would be NULL")
	}
}
