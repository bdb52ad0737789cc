package work_test

import (
	"strings"
	"testing"

	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// expect compares texts.
func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n\t%q, want\n\t%q", what, got, want)
	}
}

func TestObjectsArriveChangeAndGo(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"), s.configMap("b", "1"))
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "the inventory", s.states(), "ConfigMap/a=Created ConfigMap/b=Created")
	a := s.target.get(s.at("a"))
	if a == nil || a.Data["k"] != "1" {
		t.Fatalf("the object did not arrive: %+v", a)
	}
	expect(t, "the label", a.Metadata.Labels[render.LabelManaged], "true")
	expect(t, "the owner", a.Metadata.Annotations[render.AnnotationOwner], "SyncSet foo/first")
	expect(t, "the owner's uid", a.Metadata.Annotations[render.AnnotationOwnerUID], set)
	expect(t, "the installation", a.Metadata.Annotations[render.AnnotationInstallation], s.installation)

	s.put(set, "first", 2, nil, s.configMap("a", "2"))
	s.remove(set, "open")
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "the inventory", s.states(), "ConfigMap/a=Applied")
	expect(t, "the changed value", s.target.get(s.at("a")).Data["k"], "2")
	if s.target.get(s.at("b")) != nil {
		t.Error("the dropped object is still there")
	}
	expect(t, "removals left", s.text("SELECT count(*) FROM reconciler.removals"), "0")

	s.drop(set, "open")
	s.run()
	if s.target.get(s.at("a")) != nil {
		t.Error("the object of the set that went is still there")
	}
	expect(t, "rows of the set", s.text("SELECT count(*) FROM reconciler.cluster_sets"), "0")
	expect(t, "the inventory", s.states(), "")
}

func TestARunWithoutChangesAsksOnlyForTheIdentity(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.put("", "first", 1, nil, s.configMap("a", "1"), s.configMap("b", "1"))
	s.run()
	s.run()
	expect(t, "requests over an open connection", s.requests(), "0")
	expect(t, "the inventory", s.states(), "ConfigMap/a=Created ConfigMap/b=Created")
	s.pool = s.newPool()
	s.run()
	expect(t, "requests over a new connection", s.requests(), "2")
}

func TestNothingIsDeletedWithoutAnOpenRemoval(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"), s.configMap("b", "1"))
	s.run()
	s.put(set, "first", 2, nil, s.configMap("a", "1"))
	s.run()
	if s.target.get(s.at("b")) == nil {
		t.Fatal("deleted without a removal")
	}
	expect(t, "the inventory without a removal", s.states(), "ConfigMap/a=Created ConfigMap/b=Created")
	s.remove(set, "held")
	s.run()
	expect(t, "the held result", s.result(set), "Held/Held: ")
	expect(t, "the held inventory", s.states(), "ConfigMap/a=Created ConfigMap/b=Held")
	if s.target.get(s.at("b")) == nil {
		t.Fatal("deleted though held")
	}
	s.remove(set, "released")
	s.run()
	b := s.target.get(s.at("b"))
	if b == nil {
		t.Fatal("deleted though released")
	}
	expect(t, "marks of the released object", strings.Join(keys(b.Metadata.Labels, b.Metadata.Annotations), ","), "")
	expect(t, "the released inventory", s.states(), "ConfigMap/a=Created")
}

func keys(maps ...map[string]string) []string {
	var out []string
	for _, m := range maps {
		for k := range m {
			if strings.HasPrefix(k, "syncsets.dev/") {
				out = append(out, k)
			}
		}
	}
	return out
}

func TestAnObjectMovesBetweenSetsWithoutBeingDeleted(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	first := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.run()
	uid := s.target.get(s.at("a")).Metadata.UID
	second := s.put("", "second", 1, nil, s.configMap("a", "2"))
	s.run()
	expect(t, "the claimant's result", s.result(second),
		"Failure/Conflict: failed to apply resource 0 (ConfigMap "+s.ns+"/a): owned by SyncSet foo/first")
	expect(t, "the incumbent's result", s.result(first), "Success/: ")

	s.drop(first, "open")
	s.run()
	a := s.target.get(s.at("a"))
	if a == nil {
		t.Fatal("the object was deleted")
	}
	expect(t, "the uid", a.Metadata.UID, uid)
	expect(t, "the owner", a.Metadata.Annotations[render.AnnotationOwnerUID], second)
	expect(t, "the value", a.Data["k"], "2")
	expect(t, "the new owner's result", s.result(second), "Success/: ")
	expect(t, "rows of the former owner", s.text("SELECT count(*) FROM reconciler.cluster_sets WHERE set_uid = $1", first), "0")
}

func TestWhatExistedBeforeIsAppliedOverAndStays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    options
		kept bool
	}{
		{"without adopt its marks are taken off", nil, true},
		{"with adopt it is deleted", options{"adopt": true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "theirs"))
			set := s.put("", "first", 1, test.o, s.configMap("a", "ours"))
			s.run()
			expect(t, "the value", s.target.get(s.at("a")).Data["k"], "ours")
			s.drop(set, "open")
			s.run()
			a := s.target.get(s.at("a"))
			if (a != nil) != test.kept {
				t.Fatalf("the object is there: %v, want %v", a != nil, test.kept)
			}
			if a != nil && len(keys(a.Metadata.Labels, a.Metadata.Annotations)) > 0 {
				t.Errorf("marks left: %v", keys(a.Metadata.Labels, a.Metadata.Annotations))
			}
			expect(t, "the inventory", s.states(), "")
		})
	}
}

func TestProtectedKindsAreRetained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    options
		kept bool
	}{
		{"a Namespace is released", nil, true},
		{"a Namespace goes when the set says so", options{"deleteProtectedKinds": true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			namespace := `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + s.ns + `-own","namespace":"ignored"}}`
			set := s.put("", "first", 1, test.o, namespace)
			s.run()
			expect(t, "the result", s.result(set), "Success/: ")
			s.put(set, "first", 2, test.o)
			s.remove(set, "open")
			s.run()
			found := s.target.get("/api/v1/namespaces/" + s.ns + "-own")
			if kept := found != nil && found.Metadata.DeletionTimestamp == ""; kept != test.kept {
				t.Errorf("the Namespace is kept: %v, want %v", kept, test.kept)
			}
			if test.kept {
				expect(t, "what is shown", s.text("SELECT objects->0->>'state' FROM reconciler.cluster_sets"), "Retained")
			}
		})
	}
}

func TestAnotherInstallationsObjectIsNeverTouched(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "theirs"))
	s.target.merge(s.at("a"), `{"metadata":{"annotations":{"syncsets.dev/installation":"other"}}}`)
	set := s.put("", "first", 1, nil, s.configMap("a", "ours"))
	s.run()
	expect(t, "the result", s.result(set),
		"Failure/Conflict: failed to apply resource 0 (ConfigMap "+s.ns+"/a): it belongs to another installation, other")
	expect(t, "the value", s.target.get(s.at("a")).Data["k"], "theirs")
}

func TestADeleteConcernsExactlyTheObjectThatWasApplied(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		meddle func(s *system)
	}{
		{"another object by the same name stays", func(s *system) {
			s.target.do("DELETE", s.at("a"), "application/json", "")
			s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "theirs"))
		}},
		{"an object whose installation mark was taken off stays", func(s *system) {
			s.target.merge(s.at("a"), `{"metadata":{"annotations":{"syncsets.dev/installation":null}}}`)
		}},
		{"an object that was given to another owner stays", func(s *system) {
			s.target.merge(s.at("a"), `{"metadata":{"annotations":{"syncsets.dev/owner-uid":"other"}}}`)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			set := s.put("", "first", 1, nil, s.configMap("a", "ours"))
			s.run()
			test.meddle(s)
			s.put(set, "first", 2, nil)
			s.remove(set, "open")
			s.run()
			if s.target.get(s.at("a")) == nil {
				t.Error("deleted")
			}
			expect(t, "the inventory", s.states(), "")
		})
	}
}

func TestARecreatedObjectIsTakenAsOneThatExistedBefore(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.run()
	s.target.do("DELETE", s.at("a"), "application/json", "")
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "theirs"))
	s.put(set, "first", 2, nil, s.configMap("a", "2"))
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "the value", s.target.get(s.at("a")).Data["k"], "2")
	expect(t, "existed", s.text("SELECT existed FROM reconciler.inventory"), "true")

	s.target.do("DELETE", s.at("a"), "application/json", "")
	s.put(set, "first", 3, nil, s.configMap("a", "3"))
	s.run()
	expect(t, "the value", s.target.get(s.at("a")).Data["k"], "3")
	expect(t, "existed after we made it anew", s.text("SELECT existed FROM reconciler.inventory"), "false")
}

func TestUpsertReleasesWhatLeavesTheSet(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	o := options{"resourceApplyMode": "Upsert"}
	set := s.put("", "first", 1, o, s.configMap("a", "1"))
	s.run()
	s.put(set, "first", 2, o)
	s.run()
	a := s.target.get(s.at("a"))
	if a == nil || len(keys(a.Metadata.Labels, a.Metadata.Annotations)) > 0 {
		t.Errorf("want the object without marks, got %+v", a)
	}
	expect(t, "the inventory", s.states(), "")
	expect(t, "the result", s.result(set), "Success/: ")
}

func TestTheFirstFailureStopsThatSetOnly(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	bad := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"No_Name","namespace":"` + s.ns + `"}}`
	broken := s.put("", "broken", 1, nil, s.configMap("a", "1"), bad, s.configMap("b", "1"))
	fine := s.put("", "fine", 1, nil, s.configMap("c", "1"))
	s.run()
	if got := s.result(broken); !strings.HasPrefix(got, "Failure/: failed to apply resource 1 (ConfigMap "+s.ns+"/No_Name): ") {
		t.Errorf("the result is %q", got)
	}
	expect(t, "the other's result", s.result(fine), "Success/: ")
	expect(t, "the inventory", s.states(), "ConfigMap/No_Name=Failed ConfigMap/a=Created ConfigMap/c=Created")
	expect(t, "attempts", s.text("SELECT attempts FROM reconciler.cluster_sets WHERE set_uid = $1", broken), "1")
	expect(t, "the next run's class", s.text("SELECT class FROM reconciler.work"), "2")
}

func TestKindsAndNamespacesThatTheSetsBringAreWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	group := s.ns + ".example.com"
	crd := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.` + group + `"},
"spec":{"group":"` + group + `","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`
	own := s.ns + "-own"
	namespace := `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + own + `"}}`
	widget := `{"apiVersion":"` + group + `/v1","kind":"Widget","metadata":{"name":"w","namespace":"` + own + `"}}`
	early := s.put("", "a-early", 1, nil, widget)
	late := s.put("", "b-late", 1, nil, namespace, crd)
	s.run()
	expect(t, "the result of what needs them", s.result(early), "Success/: ")
	expect(t, "the result of what brings them", s.result(late), "Success/: ")
}

func TestAKindThatNobodyBringsIsAClearFailure(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, `{"apiVersion":"nowhere.example.com/v1","kind":"Gadget","metadata":{"name":"g","namespace":"x"}}`)
	s.run()
	expect(t, "the result", s.result(set),
		"Failure/WaitingForKind: failed to apply resource 0 (Gadget x/g): waiting for kind Gadget in nowhere.example.com/v1")
}

func TestANamespacedKindWithoutANamespaceIsAClearFailure(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	s.run()
	expect(t, "the result", s.result(set), "Failure/: failed to apply resource 0 (ConfigMap a): ConfigMap needs a metadata.namespace")
}

func TestAnObjectWithAFinalizerIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.run()
	s.target.merge(s.at("a"), `{"metadata":{"finalizers":["example.com/wait"]}}`)
	s.drop(set, "open")
	s.run()
	expect(t, "the result", s.result(set), "Pending/Deleting: ")
	expect(t, "the inventory", s.states(), "ConfigMap/a=Deleting")
	expect(t, "a follow-up", s.text("SELECT next_at < now() + interval '10 seconds' FROM reconciler.work"), "true")
	s.target.merge(s.at("a"), `{"metadata":{"finalizers":null}}`)
	s.run()
	expect(t, "the inventory", s.states(), "")
	expect(t, "rows of the set", s.text("SELECT count(*) FROM reconciler.cluster_sets"), "0")
}

func TestARefusedSecretShowsNoValue(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, `{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/tls","metadata":{"name":"a","namespace":"`+
		s.ns+`"},"data":{"tls.crt":"dG9wc2VjcmV0"}}`)
	s.run()
	got := s.result(set)
	if strings.Contains(got, "dG9wc2VjcmV0") || strings.Contains(got, "topsecret") || !strings.Contains(got, "Invalid") ||
		!strings.Contains(got, "data[tls.key]") {
		t.Errorf("the result is %q; want the reason and the field's path alone", got)
	}
}

func TestManyNewObjectsAreFoundByOneList(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("c", "theirs"))
	set := s.put("", "first", 1, nil, s.configMap("a", "1"), s.configMap("b", "1"), s.configMap("c", "1"), s.configMap("d", "1"))
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "what existed", s.text("SELECT string_agg(name, ',') FROM reconciler.inventory WHERE existed"), "c")
	expect(t, "requests: two for the identity, one for the kind, one list, four applies", s.requests(), "8")
}
