package auth_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

func sum(token string) string {
	hash := sha256.Sum256([]byte(token))
	return hex.EncodeToString(hash[:])
}

func newTokens(t *testing.T, text string) (auth.Authenticator, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return auth.NewTokens(path)
}

func requestWith(authorization string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func TestATokenNamesItsPrincipal(t *testing.T) {
	t.Parallel()
	a, err := newTokens(t, "tokens: [{name: alice, groups: [team], sha256: "+sum("s3cret")+"}]")
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Principal{Name: "alice", Groups: []string{"team"}}
	for _, header := range []string{"Bearer s3cret", "bearer s3cret", "Bearer  s3cret"} {
		if got, err := a.Authenticate(requestWith(header)); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%q: %+v, %v", header, got, err)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic s3cret", "s3cret", "Bearer " + sum("s3cret"), "Bearer s3cre"} {
		if got, err := a.Authenticate(requestWith(header)); !errs.Is(err, errs.Unauthenticated) {
			t.Errorf("%q: %+v, %v, not Unauthenticated", header, got, err)
		}
	}
}

func TestRulesGrantWhatTheySayAndNothingElse(t *testing.T) {
	t.Parallel()
	a, err := newTokens(t, `
tokens: [{name: x, sha256: `+sum("x")+`}]
rules:
- {subjects: [alice], verbs: [read], resources: ["*"], namespaces: ["*"]}
- {groups: [team], verbs: [read, write], resources: [clusters], namespaces: [foo, bar]}
- {subjects: [root], verbs: ["*"], resources: ["*"], namespaces: ["*"]}
`)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := auth.Principal{Name: "alice"}, auth.Principal{Name: "bob", Groups: []string{"other", "team"}}
	root, eve := auth.Principal{Name: "root"}, auth.Principal{Name: "eve", Groups: []string{"alice"}}
	tests := map[string]struct {
		who     auth.Principal
		access  auth.Access
		allowed bool
	}{
		"a subject with all namespaces":     {alice, auth.Access{Verb: auth.Read, Resource: "syncsets", Namespace: "foo"}, true},
		"the whole system":                  {alice, auth.Access{Verb: auth.Read, Resource: "selectorsyncsets"}, true},
		"another verb":                      {alice, auth.Access{Verb: auth.Write, Resource: "clusters", Namespace: "foo"}, false},
		"by group":                          {bob, auth.Access{Verb: auth.Write, Resource: "clusters", Namespace: "bar"}, true},
		"another namespace":                 {bob, auth.Access{Verb: auth.Write, Resource: "clusters", Namespace: "baz"}, false},
		"the whole system by named ones":    {bob, auth.Access{Verb: auth.Read, Resource: "clusters"}, false},
		"anywhere by named ones":            {bob, auth.Access{Verb: auth.Write, Resource: "clusters", Namespace: auth.Somewhere}, true},
		"anywhere with another verb":        {bob, auth.Access{Verb: auth.Confirm, Resource: "clusters", Namespace: auth.Somewhere}, false},
		"another resource":                  {bob, auth.Access{Verb: auth.Read, Resource: "secrets", Namespace: "foo"}, false},
		"everything":                        {root, auth.Access{Verb: auth.Admin, Resource: "pause"}, true},
		"a group that is called as subject": {eve, auth.Access{Verb: auth.Read, Resource: "clusters", Namespace: "foo"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := a.Authorize(t.Context(), test.who, test.access)
			if (err == nil) != test.allowed || (err != nil && !errs.Is(err, errs.Forbidden)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEveryFaultOfATokensFileIsNamed(t *testing.T) {
	t.Parallel()
	_, err := newTokens(t, `
tokens:
- {sha256: abc}
- {name: a, sha256: `+sum("a")+`}
- {name: b, sha256: `+sum("a")+`}
rules:
- {verbs: [fly]}
`)
	var known *errs.Error
	if !errors.As(err, &known) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, f := range known.Fields {
		got = append(got, f.Path)
	}
	want := []string{
		"tokens[0].name", "tokens[0].sha256", "tokens[2].sha256", "rules[0]", "rules[0].verbs[0]", "rules[0].resources", "rules[0].namespaces",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{"no tokens": "rules: []", "an unknown field": "tokenz: []", "no YAML": "{"} {
		if _, err := newTokens(t, text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type scoped struct {
	namespace string
	secrets   bool
}

func (s scoped) Scope() string        { return s.namespace }
func (s scoped) CarriesSecrets() bool { return s.secrets }

func TestTheMiddlewareAsksBeforeTheOperation(t *testing.T) {
	t.Parallel()
	a, err := newTokens(t, `
tokens: [{name: x, sha256: `+sum("x")+`}]
rules: [{subjects: [alice], verbs: [write], resources: [notes], namespaces: [foo]}]
`)
	if err != nil {
		t.Fatal(err)
	}
	alice := auth.Principal{Name: "alice"}
	tests := map[string]struct {
		who     auth.Principal
		request any
		want    errs.Kind
		reached bool
	}{
		"allowed":                       {alice, scoped{namespace: "foo"}, errs.Internal, true},
		"another namespace":             {alice, scoped{namespace: "bar"}, errs.Forbidden, false},
		"a request without a namespace": {alice, struct{}{}, errs.Forbidden, false},
		"secrets without their verb":    {alice, scoped{namespace: "foo", secrets: true}, errs.Forbidden, false},
		"nobody":                        {auth.Principal{}, scoped{namespace: "foo"}, errs.Unauthenticated, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := false
			next := func(context.Context, any) (any, error) {
				reached = true
				return struct{}{}, nil
			}
			_, err := auth.Middleware(a, auth.Write, "notes")(next)(auth.With(t.Context(), test.who), test.request)
			if reached != test.reached || (err != nil && errs.KindOf(err) != test.want) {
				t.Errorf("reached %v, error %v", reached, err)
			}
		})
	}
}

func TestTheSharedSecretLetsItsHolderIn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		secret, header string
		in             bool
	}{
		"the secret":            {"s", "Bearer s", true},
		"another":               {"s", "Bearer t", false},
		"none":                  {"s", "", false},
		"another scheme":        {"s", "Basic s", false},
		"no secret is set":      {"", "", true},
		"nor asked for, a try":  {"", "Bearer x", true},
		"a prefix of it":        {"secret", "Bearer secre", false},
		"it with something new": {"secret", "Bearer secrets", false},
	}
	for name, test := range tests {
		if _, err := auth.NewShared(test.secret).Authenticate(requestWith(test.header)); (err == nil) != test.in {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// parcel is a request of several accesses.
type parcel []auth.Access

func (p parcel) Accesses() []auth.Access { return p }

func TestACompositeRequestNeedsEachOfItsAccesses(t *testing.T) {
	t.Parallel()
	a, err := newTokens(t, `
tokens: [{name: alice, sha256: `+sum("a")+`}]
rules: [{subjects: [alice], verbs: [write], resources: [syncsets], namespaces: [foo, bar]}]`)
	if err != nil {
		t.Fatal(err)
	}
	served := auth.Middleware(a, auth.Write, "import")(func(context.Context, any) (any, error) { return "done", nil })
	ctx := auth.With(t.Context(), auth.Principal{Name: "alice"})
	in := func(resource, namespace string) auth.Access {
		return auth.Access{Verb: auth.Write, Resource: resource, Namespace: namespace}
	}
	if _, err := served(ctx, parcel{in("syncsets", "foo"), in("syncsets", "bar")}); err != nil {
		t.Errorf("both are granted: %v", err)
	}
	for _, denied := range []auth.Access{in("syncsets", "other"), in("secrets", "foo"), in("selectorsyncsets", "")} {
		if _, err := served(ctx, parcel{in("syncsets", "foo"), denied, in("syncsets", "bar")}); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%+v: %v, not Forbidden", denied, err)
		}
	}
	if _, err := served(t.Context(), parcel{in("syncsets", "foo")}); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
}
