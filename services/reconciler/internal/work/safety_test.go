package work_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// widgets returns the definition of a kind of this test's own, one object of it, and the object's path.
func (s *system) widgets() (crd, widget, at string) {
	group := s.ns + ".example.com"
	crd = fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.%[1]s"},
"spec":{"group":"%[1]s","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",
"x-kubernetes-preserve-unknown-fields":true}}}]}}`, group)
	widget = fmt.Sprintf(`{"apiVersion":"%s/v1","kind":"Widget","metadata":{"name":"w","namespace":%q}}`, group, s.ns)
	return crd, widget, "/apis/" + group + "/v1/namespaces/" + s.ns + "/widgets/w"
}

func TestAnObjectWhoseKindCameInTheSameRunIsDeletedLater(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	crd, widget, at := s.widgets()
	set := s.put("", "first", 1, nil, crd, widget)
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "how the object is reached", s.text("SELECT resource FROM reconciler.inventory WHERE kind = 'Widget'"), "widgets")
	s.put(set, "first", 2, nil, crd)
	s.remove(set, "open")
	s.run()
	if s.target.get(at) != nil {
		t.Error("the dropped object is still there")
	}
	expect(t, "the inventory", s.states(), "CustomResourceDefinition/widgets."+s.ns+".example.com=Created")
}

func TestAnObjectWhoseRowDoesNotSayHowItIsReachedIsDeletedAllTheSame(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		die  bool // the worker dies before it settles
	}{
		{"an intent of a worker that died", true},
		{"a confirmed row", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			crd, widget, at := s.widgets()
			set := s.put("", "first", 1, nil, crd, widget)
			s.offer()
			pool := s.pool
			if test.die {
				pool = s.meddle(&meddling{beforeSettle: func() error { return errors.New("killed") }})
			}
			pool.RunCluster(t.Context(), s.cluster)
			s.exec("UPDATE reconciler.inventory SET resource = '' WHERE kind = 'Widget'")
			if s.target.get(at) == nil {
				t.Fatal("the object did not arrive")
			}
			s.drop(set, "open")
			s.takeOver()
			if s.target.get(at) != nil {
				t.Error("the object is still there")
			}
			expect(t, "the inventory", s.states(), "")
		})
	}
}

func TestAnObjectWhoseKindWentIsForgotten(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	crd, widget, at := s.widgets()
	set := s.put("", "first", 1, nil, crd, widget)
	s.run()
	s.target.do("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets."+s.ns+".example.com", "application/json", "")
	eventually(t, "the end of the kind", func() bool { return s.target.get(at) == nil })
	s.drop(set, "open")
	s.run()
	expect(t, "the inventory", s.states(), "")
	expect(t, "rows of the set", s.text("SELECT count(*) FROM reconciler.cluster_sets"), "0")
}

func TestAnObjectWhoseVersionIsNoLongerServedIsDeletedThroughAnother(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	crd, widget, at := s.widgets()
	v2 := strings.Replace(at, "/v1/", "/v2/", 1)
	definition := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets." + s.ns + ".example.com"
	s.target.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
	eventually(t, "the kind", func() bool {
		status, _ := s.target.do("GET", strings.TrimSuffix(at, "/w"), "application/json", "")
		return status == http.StatusOK
	})
	set := s.put("", "first", 1, nil, widget)
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	const schema = `"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}`
	s.target.merge(definition, `{"spec":{"versions":[{"name":"v1","served":false,"storage":false,`+schema+`},
{"name":"v2","served":true,"storage":true,`+schema+`}]}}`)
	eventually(t, "the end of the version", func() bool { return s.target.get(v2) != nil && s.target.get(at) == nil })
	s.drop(set, "open")
	s.run()
	if s.target.get(v2) != nil {
		t.Error("the object is still there")
	}
	expect(t, "the inventory", s.states(), "")
}

func TestAPauseBetweenTwoDeletionsStopsTheSecond(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("second", "1"), s.configMap("first", "1"))
	s.run()
	s.target.merge(s.at("first"), `{"metadata":{"finalizers":["example.com/wait"]}}`)
	s.drop(set, "open")
	checks := 0
	m := &meddling{beforeRecheck: func() error {
		if checks++; checks == 1 {
			return nil
		}
		_, err := s.db.Exec(context.Background(), "UPDATE reconciler.planner SET paused_at = now()")
		return err
	}}
	pool := s.meddle(m)
	s.offer()
	pool.RunCluster(t.Context(), s.cluster)
	if s.target.get(s.at("second")) == nil {
		t.Error("deleted after the pause")
	}
	expect(t, "the inventory", s.states(), "ConfigMap/first=Deleting ConfigMap/second=Created")
	s.target.merge(s.at("first"), `{"metadata":{"finalizers":null}}`)
}

func TestAnObjectThatIsReachedUnderTwoGroupsIsNotDeletedUnderOne(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	const common = `"eventTime":"2026-01-02T03:04:05.000000Z","reportingInstance":"i","action":"a","reason":"r","type":"Normal"`
	core := fmt.Sprintf(`{"apiVersion":"v1","kind":"Event","metadata":{"name":"e","namespace":%[1]q},"reportingComponent":"example.com/c",
"involvedObject":{"kind":"Pod","name":"p","namespace":%[1]q},`+common+`}`, s.ns)
	grouped := fmt.Sprintf(`{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e","namespace":%[1]q},
"reportingController":"example.com/c","regarding":{"kind":"Pod","name":"p","namespace":%[1]q},`+common+`}`, s.ns)
	set := s.put("", "first", 1, nil, core)
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	at := "/api/v1/namespaces/" + s.ns + "/events/e"
	uid := s.target.get(at).Metadata.UID
	s.put(set, "first", 2, nil, grouped)
	s.remove(set, "open")
	s.run()
	expect(t, "the result under the other group", s.result(set), "Success/: ")
	e := s.target.get(at)
	if e == nil {
		t.Fatal("the object that the set still renders was deleted")
	}
	expect(t, "the uid", e.Metadata.UID, uid)
	expect(t, "the owner", e.Metadata.Annotations[render.AnnotationOwnerUID], set)
	expect(t, "the inventory", s.text("SELECT string_agg(api_group || '/' || name, ',') FROM reconciler.inventory"), "events.k8s.io/e")

	s.put(set, "first", 3, nil)
	s.remove(set, "open")
	s.run()
	if s.target.get(at) != nil {
		t.Error("the dropped object is still there")
	}
}

func TestWhatComesDuringARunOutlivesItsSettlement(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, sql, what, query, want string }{
		{
			"a person's wish for everything to be applied",
			"UPDATE reconciler.work SET want = want + 1, full_apply = true",
			"the wish", "SELECT full_apply::text || (next_at <= now())::text FROM reconciler.work", "truetrue",
		}, {
			"another target: the inventory is not the former one's",
			"WITH gone AS (DELETE FROM reconciler.inventory) UPDATE reconciler.clustersyncs SET target_id = ''",
			"the inventory", "SELECT count(*) FROM reconciler.inventory", "0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.put("", "first", 1, nil, s.configMap("a", "1"))
			m := &meddling{beforeSettle: s.happens(test.sql)}
			pool := s.meddle(m)
			s.offer()
			pool.RunCluster(t.Context(), s.cluster)
			if err := <-m.settled; err != nil {
				t.Fatal(err)
			}
			expect(t, test.what, s.text(test.query), test.want)
		})
	}
}

func TestARunThatCanLoadNothingRests(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.run()
	done := s.text("SELECT done FROM reconciler.work")
	s.exec(`UPDATE reconciler.clusters SET document = '"unreadable"'`)
	s.run()
	expect(t, "the rest", s.text("SELECT next_at BETWEEN now() + interval '4 s' AND now() + interval '7 s' FROM reconciler.work"), "true")
	expect(t, "done", s.text("SELECT done FROM reconciler.work"), done)
	expect(t, "the result", s.result(set), "Success/: ")
	s.exec(`UPDATE reconciler.clusters SET document = '{"name": "one", "namespace": "foo"}'`)
	s.run()
	expect(t, "done afterwards", s.text("SELECT want - done FROM reconciler.work"), "0")
}

func TestAnUnchangedObjectIsTrackedFromTheGenerationThatWentOnSync(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, options{"resourceApplyMode": "Upsert"}, s.configMap("a", "1"), s.configMap("b", "1"))
	s.run()
	s.put(set, "first", 2, nil, s.configMap("a", "1"), s.configMap("b", "1"))
	s.exec("UPDATE reconciler.sets SET tracked_from = 2")
	s.run()
	expect(t, "the inventory", s.states(), "ConfigMap/a=Created ConfigMap/b=Created")
	expect(t, "the generations", s.text("SELECT string_agg(set_generation::text, ',') FROM reconciler.inventory"), "2,2")
	s.put(set, "first", 3, nil, s.configMap("a", "1"))
	s.exec("UPDATE reconciler.sets SET tracked_from = 2")
	s.remove(set, "open")
	s.run()
	if s.target.get(s.at("b")) != nil {
		t.Error("released instead of deleted")
	}
	expect(t, "the inventory", s.states(), "ConfigMap/a=Created")
}
