package render_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

var marks = render.Marks{Owner: "SyncSet foo/a", OwnerUID: "1", Installation: "2"}

func one(text string) render.Item {
	return only(v1.SetSpec{Resources: []json.RawMessage{json.RawMessage(text)}})
}

// only renders a set of one item for a cluster.
func only(spec v1.SetSpec) render.Item {
	return render.Parse(spec, marks).Render(facts, noSecrets, keyed)[0]
}

var facts = render.Facts{Namespace: "foo", Name: "one", UID: "c", Labels: map[string]string{"region": "eu", "none": ""}}

func noSecrets(v1.NamespacedName) (render.SecretValue, error) {
	return render.SecretValue{}, errs.New(errs.NotFound, "no such secret")
}

func keyed(body []byte) []byte { return append([]byte("keyed "), body...) }

func TestAResourceIsSentWithOurMarksAndItsNumbersAsTheyWere(t *testing.T) {
	t.Parallel()
	item := one(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","namespace":"b","uid":"x","resourceVersion":"9",
"annotations":{"mine":"1"}},"spec":{"big":12345678901234567890,"fraction":1.10}}`)
	want := `{"metadata":{"annotations":{"mine":"1","syncsets.dev/installation":"2","syncsets.dev/owner":"SyncSet foo/a",` +
		`"syncsets.dev/owner-uid":"1"},"labels":{"syncsets.dev/managed":"true"},"name":"a","namespace":"b"},"apiVersion":"apps/v1",` +
		`"kind":"Deployment","spec":{"big":12345678901234567890,"fraction":1.10}}`
	if diff := cmp.Diff(want, string(item.Object)); diff != "" {
		t.Errorf("the object differs (-want +got):\n%s", diff)
	}
	identity := inventory.Identity{Group: "apps", Kind: "Deployment", Namespace: "b", Name: "a"}
	if item.Identity != identity || item.Version != "v1" || item.Fault != "" {
		t.Errorf("got %+v", item)
	}
}

func TestTheHashTellsContentApartAndNothingElse(t *testing.T) {
	t.Parallel()
	a := one(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":null},"data":{"x":"1","y":"2"}}`)
	same := one(`{"kind":"ConfigMap","data":{"y":"2","x":"1"},"metadata":{"name":"a"},"apiVersion":"v1"}`)
	other := one(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","y":"3"}}`)
	if !bytes.Equal(a.Hash, same.Hash) || bytes.Equal(a.Hash, other.Hash) {
		t.Error("the hashes do not follow the content")
	}
}

func TestWhatCannotBeDecodedIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"no name", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}`, "failed to decode resource 0: metadata.name is missing"},
		{
			"a name that leads elsewhere", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"../../x"}}`,
			"failed to decode resource 0: metadata.name and metadata.namespace may not be . or .. and may not contain / or %",
		},
		{"no kind", `{"apiVersion":"v1","metadata":{"name":"a"}}`, "failed to decode resource 0: kind is missing"},
		{
			"labels that are no object", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":[]}}`,
			"failed to decode resource 0: metadata.labels is not an object",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := one(test.text).Fault; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAPreconditionAndAMissingNamespaceAreEditedIntoTheBytes(t *testing.T) {
	t.Parallel()
	item := one(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","namespace":"b"}}`)
	var got struct {
		Metadata struct{ UID, Name, Namespace string }
	}
	if err := json.Unmarshal(render.WithUID(item.Object, "u"), &got); err != nil || got.Metadata.UID != "u" || got.Metadata.Name != "a" {
		t.Errorf("with a uid: %+v, %v", got, err)
	}
	object, hash := render.WithoutNamespace(item.Object)
	plain := one(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}`)
	if string(object) != string(plain.Object) || !bytes.Equal(hash, plain.Hash) {
		t.Errorf("without the namespace: %s", object)
	}
}
