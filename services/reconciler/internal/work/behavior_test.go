package work_test

import (
	"fmt"
	"testing"
)

// verify makes the verification due and runs.
func (s *system) verify() {
	s.t.Helper()
	s.exec("UPDATE reconciler.work SET verify_at = now() WHERE cluster_uid = $1", s.cluster)
	s.run()
}

// whole makes the full apply due and runs.
func (s *system) whole() {
	s.t.Helper()
	s.exec("UPDATE reconciler.work SET full_at = now() WHERE cluster_uid = $1", s.cluster)
	s.run()
}

func (s *system) configMaps(n int, value string) []string {
	var out []string
	for i := range n {
		out = append(out, s.configMap(fmt.Sprintf("m%d", i), value))
	}
	return out
}

func (s *system) patch(name, kind, text string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "namespace": s.ns, "name": name, "patchType": kind, "patch": text}
}

func TestVerifyingAsksOncePerKindAndHealsWithOneRequest(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMaps(10, "1")...)
	s.run()
	s.verify()
	expect(t, "requests when nothing changed", s.requests(), "1")
	s.run()
	expect(t, "requests outside the verification", s.requests(), "0")

	s.target.merge(s.at("m3"), `{"data":{"k":"drifted"}}`)
	s.verify()
	expect(t, "requests when one object had changed", s.requests(), "2")
	expect(t, "the healed value", s.target.get(s.at("m3")).Data["k"], "1")
	expect(t, "the drift", s.text("SELECT string_agg(name || ' ' || drifts || ' ' || (drifted_by <> '') || ' ' || (drifted_at IS NOT NULL), ',') "+
		"FROM reconciler.inventory WHERE drifts > 0"), "m3 1 true true")
	s.verify()
	expect(t, "requests after healing", s.requests(), "1")

	s.target.merge(s.at("m4"), `{"metadata":{"annotations":{"example.com/own":"x"}}}`)
	s.verify()
	expect(t, "requests when somebody added what is none of ours", s.requests(), "1")

	s.target.do("DELETE", s.at("m5"), "application/json", "")
	s.verify()
	expect(t, "requests when one object was gone", s.text("SELECT ($1::int <= 3)", s.requests()), "true")
	if s.target.get(s.at("m5")) == nil {
		t.Error("the deleted object was not made anew")
	}
	expect(t, "the result", s.result(set), "Success/: ")

	edited := s.configMaps(10, "1")
	edited[7] = s.configMap("m7", "2")
	s.put(set, "first", 2, nil, edited...)
	s.run()
	expect(t, "requests for one changed object of ten", s.requests(), "1")
	expect(t, "the next verification is planned", s.text("SELECT verify_at > now() FROM reconciler.work"), "true")
}

func TestCreateOnlyTouchesNothingThatIsThere(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	o := options{"applyBehavior": "CreateOnly"}
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("theirs", "0"))
	set := s.put("", "first", 1, o, s.configMap("a", "1"), s.configMap("theirs", "1"))
	s.run()
	s.put(set, "first", 2, o, s.configMap("a", "2"), s.configMap("theirs", "2"))
	s.run()
	expect(t, "requests for an edit", s.requests(), "0")
	s.whole()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "the created object", s.target.get(s.at("a")).Data["k"], "1")
	theirs := s.target.get(s.at("theirs"))
	expect(t, "what existed", theirs.Data["k"], "0")
	expect(t, "marks on what existed", fmt.Sprint(keys(theirs.Metadata.Labels, theirs.Metadata.Annotations)), "[]")

	s.target.do("DELETE", s.at("a"), "application/json", "")
	s.verify()
	expect(t, "the object that was gone", s.target.get(s.at("a")).Data["k"], "2")
	s.drop(set, "open")
	s.run()
	if s.target.get(s.at("a")) != nil || s.target.get(s.at("theirs")) == nil {
		t.Error("want the created object gone and the other's there")
	}
}

func TestCreateOrUpdateLeavesWhatTheSetDoesNotMention(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	o := options{"applyBehavior": "CreateOrUpdate"}
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "0"))
	s.target.merge(s.at("a"), `{"data":{"own":"kept"}}`)
	set := s.put("", "first", 1, o, s.configMap("a", "1"), s.configMap("b", "1"))
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	a := s.target.get(s.at("a"))
	expect(t, "the merged value", a.Data["k"]+" "+a.Data["own"], "1 kept")
	s.run()
	expect(t, "requests when nothing changed", s.requests(), "0")
	s.verify()
	expect(t, "requests of a verification", s.requests(), "1")
	s.target.merge(s.at("b"), `{"data":{"k":"drifted"}}`)
	s.verify()
	expect(t, "the healed value", s.target.get(s.at("b")).Data["k"], "1")
}

func TestPatchesAreSentOnceAndAreNoDrift(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	o := options{"patches": []any{s.patch("a", "merge", `{"data":{"k":"patched"}}`)}}
	set := s.put("", "first", 1, o, s.configMap("a", "1"))
	s.run()
	expect(t, "the result", s.result(set), "Success/: ")
	expect(t, "the value", s.target.get(s.at("a")).Data["k"], "patched")
	s.run()
	expect(t, "requests when nothing changed", s.requests(), "0")
	s.verify()
	expect(t, "requests of a verification", s.requests(), "1")
	s.whole()
	s.verify()
	expect(t, "the value after a full apply and a verification", s.target.get(s.at("a")).Data["k"], "patched")
	expect(t, "drift", s.text("SELECT sum(drifts) FROM reconciler.inventory"), "0")
}

func TestAPatchIsSentAgainWhenItsSetIsEditedOrItsObjectWritten(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	object := func(value string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":%q},"data":{"a":%q,"b":"1"}}`, s.ns, value)
	}
	o := options{"patches": []any{s.patch("x", "merge", `{"data":{"b":null}}`)}}
	data := func() string { return fmt.Sprint(s.target.get(s.at("x")).Data) }
	set := s.put("", "first", 1, o, object("1"))
	s.run()
	expect(t, "the data", data(), "map[a:1]")
	s.put(set, "first", 2, o, object("2"))
	s.run()
	expect(t, "the data after an edit of the object", data(), "map[a:2]")
	s.run()
	expect(t, "requests when nothing changed", s.requests(), "0")
	s.target.merge(s.at("x"), `{"data":{"a":"drifted","b":"1"}}`)
	s.verify()
	expect(t, "the data after healing", data(), "map[a:2]")

	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("theirs", "1"))
	o["patches"] = append(o["patches"].([]any), s.patch("theirs", "merge", `{"data":{"k":"patched"}}`))
	s.put(set, "first", 3, o, object("2"))
	s.run()
	s.target.merge(s.at("theirs"), `{"data":{"k":"changed"}}`)
	s.run()
	expect(t, "what nobody edited", s.target.get(s.at("theirs")).Data["k"], "changed")
	s.put(set, "first", 4, o, object("2"))
	s.run()
	expect(t, "the value after an edit of the set", s.target.get(s.at("theirs")).Data["k"], "patched")
	expect(t, "the result", s.result(set), "Success/: ")
}

func TestAPatchNeedsItsObjectAndANamespacedOneItsNamespace(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	missing := s.put("", "missing", 1, options{"patches": []any{s.patch("nowhere", "merge", `{"data":{"k":"1"}}`)}})
	stray := s.patch("a", "merge", `{"data":{"k":"1"}}`)
	delete(stray, "namespace")
	nowhere := s.put("", "stray", 1, options{"patches": []any{stray}})
	late := s.put("", "a-late", 1, options{"patches": []any{s.patch("b", "merge", `{"data":{"k":"patched"}}`)}})
	s.put("", "z-brings", 1, nil, s.configMap("b", "1"))
	s.run()
	expect(t, "the result without an object", s.result(missing), "Failure/: failed to apply patch 0: ConfigMap "+s.ns+"/nowhere not found")
	expect(t, "the result without a namespace", s.result(nowhere), "Failure/: failed to apply patch 0: ConfigMap needs a namespace")
	expect(t, "the result of a patch that came before its object", s.result(late), "Success/: ")
	expect(t, "the patched value", s.target.get(s.at("b")).Data["k"], "patched")
}

func TestAJSONPatchIsNotAppliedTwice(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "0"))
	o := options{"patches": []any{
		s.patch("a", "json", `[{"op":"copy","from":"/data/k","path":"/data/k2"},{"op":"replace","path":"/data/k","value":"1"}]`),
		s.patch("a", "json", `[{"op":"copy","from":"/data/k2","path":"/data/k3"},{"op":"replace","path":"/data/k2","value":"2"}]`),
	}}
	set := s.put("", "first", 1, o)
	s.run()
	for range 2 {
		s.whole()
		expect(t, "the result", s.result(set), "Success/: ")
		a := s.target.get(s.at("a"))
		expect(t, "the values", a.Data["k"]+" "+a.Data["k2"]+" "+a.Data["k3"], "1 2 0")
	}
}

func TestImmutableFieldsFailOrAreRecreated(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	frozen := func(value string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","immutable":true,"metadata":{"name":"a","namespace":%q},"data":{"k":%q}}`, s.ns, value)
	}
	set := s.put("", "first", 1, nil, frozen("1"))
	s.run()
	s.put(set, "first", 2, nil, frozen("2"))
	s.run()
	expect(t, "the value with Fail", s.target.get(s.at("a")).Data["k"], "1")
	s.put(set, "first", 3, options{"immutableFields": "Recreate"}, frozen("2"))
	s.run()
	expect(t, "the result with Recreate", s.result(set), "Success/: ")
	expect(t, "the value with Recreate", s.target.get(s.at("a")).Data["k"], "2")
}
