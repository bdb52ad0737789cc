package kube_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

func asUnreachable(err error, into **work.Unreachable) bool { return errors.As(err, into) }

func TestApplyTellsTheFieldsAndTheHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
	first := w.apply(s)
	expect(t, "created", first.Created, true)
	expect(t, "health", first.Health.Status, "Current")
	if len(first.Fields) == 0 {
		t.Fatal("no digest of our fields")
	}
	again := w.apply(known(w.configMap(decide.Apply, "a", `{"k":"2"}`), first))
	expect(t, "another value of the same fields", string(again.Fields), string(first.Fields))
	more := w.apply(known(w.configMap(decide.Apply, "a", `{"k":"2","l":"1"}`), first))
	if string(more.Fields) == string(first.Fields) {
		t.Error("another field leaves the digest the same")
	}
	deployment := w.apply(w.step(decide.Apply, "deployments", deployment("d", 1)))
	expect(t, "health of a Deployment", deployment.Health.Status, "InProgress")
	if deployment.Health.Message == "" {
		t.Error("no words about the health")
	}
	health, err := w.conn.Health(t.Context(), []decide.Ref{
		refOf(w.step(decide.Apply, "deployments", deployment2("d"))), refOf(s), refOf(w.step(decide.Apply, "deployments", deployment2("none"))),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for id, h := range health {
		got[id.Name] = h.Status
	}
	if diff := cmp.Diff(map[string]string{"d": "InProgress", "a": "Current", "none": "NotFound"}, got); diff != "" {
		t.Error(diff)
	}
}

// deployment is a Deployment that never has Pods: nothing schedules them.
func deployment(name string, replicas int) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,"namespace":"NS"},"spec":{"replicas":%d,
"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i:1",
"ports":[{"containerPort":80}]}]}}}}`, name, replicas)
}

func deployment2(name string) string { return deployment(name, 2) }

func TestCreateLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, annotations           string
		absent                      bool
		created, untouched, existed bool
		refusal                     string
		requests                    []string
	}{
		{name: "nothing is there", absent: true, created: true, requests: []string{"POST"}},
		{name: "something may be there, and is not", created: true, requests: []string{"GET", "POST"}},
		{name: "ours", annotations: "OURS", untouched: true, requests: []string{"GET"}},
		{name: "ours came to be in between", annotations: "OURS", absent: true, untouched: true, requests: []string{"POST", "GET"}},
		{name: "somebody's", annotations: "none", absent: true, untouched: true, existed: true, requests: []string{"POST", "GET"}},
		{
			name: "another installation's", annotations: "other", absent: true, refusal: "it belongs to another installation, other",
			requests: []string{"POST", "GET"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.annotations != "" {
				mark := map[string]string{"OURS": w.installation, "other": "other", "none": ""}[test.annotations]
				w.post(w.configMaps(), fmt.Sprintf(`{"metadata":{"name":"a","annotations":{"syncsets.dev/installation":%q}},"data":{"k":"0"}}`, mark))
			}
			s := w.configMap(decide.Create, "a", `{"k":"1"}`)
			s.Absent = test.absent
			w.front.requests()
			if test.refusal != "" {
				contains(t, "the refusal", w.refused(s), test.refusal)
			} else {
				a := w.apply(s)
				expect(t, "created", a.Created, test.created)
				expect(t, "untouched", a.Untouched, test.untouched)
				expect(t, "existed", a.Existed, test.existed)
				expect(t, "uid", fmt.Sprintf("%q", a.UID), w.at(w.configMaps("a"), "metadata", "uid"))
			}
			if diff := cmp.Diff(test.requests, methods(w.front.requests())); diff != "" {
				t.Error(diff)
			}
			expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), map[bool]string{true: `"1"`, false: `"0"`}[test.created])
		})
	}
}

func methods(requests []string) (out []string) {
	for _, r := range requests {
		method, _, _ := strings.Cut(r, " ")
		out = append(out, method)
	}
	return out
}

func TestMergeLeavesWhatTheSetDoesNotMention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.configMap(decide.Merge, "a", `{"k":"1"}`)
	s.Absent = true
	made := w.apply(s)
	expect(t, "created", made.Created, true)
	w.merge(w.configMaps("a"), "somebody", `{"data":{"theirs":"1"},"metadata":{"finalizers":["syncsets.dev/a","syncsets.dev/b"]}}`)
	w.front.requests()
	next := w.step(decide.Merge, "configmaps",
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"NS","finalizers":["syncsets.dev/a"]},"data":{"k":"2"}}`)
	merged := w.apply(known(next, made))
	expect(t, "existed", merged.Existed, false)
	expect(t, "requests", strings.Join(methods(w.front.requests()), " "), "PATCH")
	expect(t, "the data", w.at(w.configMaps("a"), "data"), `{"k":"2","theirs":"1"}`)
	expect(t, "a list is replaced", w.at(w.configMaps("a"), "metadata", "finalizers"), `["syncsets.dev/a"]`)
	w.merge(w.configMaps("a"), "", `{"metadata":{"finalizers":null}}`)
	w.must("DELETE", w.configMaps("a"), "", "", "")
	again := w.apply(known(w.configMap(decide.Merge, "a", `{"k":"3"}`), made))
	expect(t, "created again", again.Created, true)
	w.post(w.configMaps(), `{"metadata":{"name":"b"},"data":{"theirs":"1"}}`)
	b := w.configMap(decide.Merge, "b", `{"k":"1"}`)
	b.Absent = true
	expect(t, "existed", w.apply(b).Existed, true)
	expect(t, "the data", w.at(w.configMaps("b"), "data"), `{"k":"1","theirs":"1"}`)
	w.post(w.configMaps(), `{"metadata":{"name":"c","annotations":{"syncsets.dev/installation":"other"}}}`)
	contains(t, "another's", w.refused(w.configMap(decide.Merge, "c", `{"k":"1"}`)), "another installation, other")
}

func TestAMissingNamespaceIsNamedByEachAction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, action := range []decide.Action{decide.Apply, decide.Create, decide.Merge} {
		s := w.step(action, "configmaps", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"none-NS"}}`)
		s.Absent = true
		_, err := w.conn.Apply(t.Context(), s)
		var missing *work.Missing
		if !errors.As(err, &missing) || missing.What != "namespace" {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestWaitingThatTheTargetAskedForIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refusals := 1
	w.front.answering(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || refusals == 0 {
			return false
		}
		refusals--
		rw.Header().Set("Retry-After", "1")
		return refuse(rw, http.StatusTooManyRequests, "TooManyRequests", "slow down")
	})
	var recorder work.Recorder
	if _, err := w.conn.Apply(work.WithRecorder(t.Context(), &recorder), w.configMap(decide.Apply, "a", `{}`)); err != nil {
		t.Fatal(err)
	}
	expect(t, "requests", recorder.Requests(), 2)
	if waited := recorder.ThrottledFor(); waited.Seconds() < 1 {
		t.Errorf("throttled for %s", waited)
	}
}
