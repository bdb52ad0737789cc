package transport_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/syncsets/internal/postgres"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
	"github.com/syncsets/syncsets/services/syncsets/internal/transport"
)

// canary is a value that must be seen nowhere but on the internal listener.
const canary = "canary-3f9a-value"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// secretData asks the internal listener for the values of a secret.
func (f *fixture) secretData(uid string) secret.Data {
	f.Helper()
	a := f.ask(f.internal, "GET", "/internal/v1/secrets/"+uid+"/data", "")
	if a.status != http.StatusOK {
		f.Fatalf("%d %s", a.status, a.body)
	}
	return read[secret.Data](f, a)
}

func keysOf(s v1.Secret) []string {
	keys := []string{}
	for _, k := range s.Keys {
		keys = append(keys, k.Key)
	}
	return keys
}

func TestASecretIsCreatedReadReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	created := f.must(http.StatusCreated, "POST", "/v1/secrets", fmt.Sprintf(`{"name":"x","namespace":"foo","labels":{"a":"b"},
		"data":{"b":%q,"a":%q},"stringData":{"a":"plain wins","c":""}}`, b64("one"), b64("two")))
	first := read[v1.Secret](f, created)
	if created.header.Get("Location") != "/v1/secrets/foo/x" || created.header.Get("ETag") != first.ETag() {
		t.Errorf("Location %q, ETag %q", created.header.Get("Location"), created.header.Get("ETag"))
	}
	if first.Type != "Opaque" || first.DataVersion != 1 || first.Generation != 1 || first.Kind != v1.KindSecret || first.UID == "" {
		t.Errorf("got %+v", first)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, keysOf(first)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(first, read[v1.Secret](f, f.must(http.StatusOK, "GET", "/v1/secrets/foo/x", ""))); diff != "" {
		t.Errorf("GET differs from POST (-post +get):\n%s", diff)
	}
	want := secret.Data{Version: 1, Data: map[string]string{"a": b64("plain wins"), "b": b64("one"), "c": ""}}
	if diff := cmp.Diff(want, f.secretData(first.UID)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	f.must(http.StatusConflict, "POST", "/v1/secrets", `{"name":"x","namespace":"foo"}`)
	f.must(http.StatusPreconditionFailed, "PUT", "/v1/secrets/foo/x", `{}`, "If-Match", `"x.1"`)
	f.must(http.StatusConflict, "PUT", "/v1/secrets/foo/x", `{"resourceVersion":"1234567"}`)
	f.must(http.StatusPreconditionFailed, "DELETE", "/v1/secrets/foo/x", "", "If-Match", `"x.1"`)
	f.must(http.StatusNoContent, "DELETE", "/v1/secrets/foo/x", "")
	f.must(http.StatusNotFound, "GET", "/v1/secrets/foo/x", "")
	f.must(http.StatusNotFound, "DELETE", "/v1/secrets/foo/x", "")
	if a := f.ask(f.internal, "GET", "/internal/v1/secrets/"+first.UID+"/data", ""); a.status != http.StatusNotFound {
		t.Errorf("values of a deleted secret: %d", a.status)
	}
	if got := f.woken.Load(); got != 2 {
		t.Errorf("the relay was woken %d times, want once per write", got)
	}
}

func TestAReplacementOfASecretKeepsWhatItDoesNotState(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const path = "/v1/secrets/foo/x"
	tls := fmt.Sprintf(`"data":{"tls.crt":%q,"tls.key":%q}`, b64("cert"), b64("key"))
	first := read[v1.Secret](f, f.must(http.StatusCreated, "PUT", path, `{"type":"kubernetes.io/tls",`+tls+`}`))
	for _, step := range []struct {
		reason, body        string
		generation, version int64
		keys                []string
	}{
		{"nothing stated keeps type and values", `{}`, 1, 1, []string{"tls.crt", "tls.key"}},
		{"the same values are no change", `{` + tls + `}`, 1, 1, []string{"tls.crt", "tls.key"}},
		{"labels are carried to the targets", `{"labels":{"a":"b"}}`, 2, 1, []string{"tls.crt", "tls.key"}},
		{"so are annotations", `{"labels":{"a":"b"},"annotations":{"c":"d"}}`, 3, 1, []string{"tls.crt", "tls.key"}},
		{"another value", `{"stringData":{"tls.crt":"cert","tls.key":"other"}}`, 4, 2, []string{"tls.crt", "tls.key"}},
		{"one key more", `{"stringData":{"tls.crt":"cert","tls.key":"other","ca.crt":""}}`, 5, 3, []string{"ca.crt", "tls.crt", "tls.key"}},
		{"what is left out of data goes", `{"stringData":{"tls.crt":"cert","tls.key":"other"}}`, 6, 4, []string{"tls.crt", "tls.key"}},
		{"the server's fields are ignored", `{"dataVersion":99,"keys":[{"key":"z","digest":"z"}],"generation":9}`, 6, 4, []string{"tls.crt", "tls.key"}},
	} {
		got := read[v1.Secret](f, f.must(http.StatusOK, "PUT", path, step.body))
		if got.Generation != step.generation || got.DataVersion != step.version || got.Type != "kubernetes.io/tls" || got.UID != first.UID {
			t.Errorf("%s: generation %d, dataVersion %d, type %s", step.reason, got.Generation, got.DataVersion, got.Type)
		}
		if diff := cmp.Diff(step.keys, keysOf(got)); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", step.reason, diff)
		}
		if data := f.secretData(first.UID); data.Version != step.version || len(data.Data) != len(step.keys) {
			t.Errorf("%s: %d values of version %d", step.reason, len(data.Data), data.Version)
		}
	}
	emptied := read[v1.Secret](f, f.must(http.StatusOK, "PUT", "/v1/secrets/foo/y", `{"data":{"a":""}}`, "If-Match", f.create("y")))
	emptied = read[v1.Secret](f, f.must(http.StatusOK, "PUT", "/v1/secrets/foo/y", `{"data":{}}`, "If-Match", emptied.ETag()))
	if emptied.DataVersion != 3 || len(emptied.Keys) != 0 {
		t.Errorf("stated values that are none: version %d, keys %v", emptied.DataVersion, emptied.Keys)
	}
}

// create makes a secret without values and returns its tag.
func (f *fixture) create(name string) string {
	f.Helper()
	return read[v1.Secret](f, f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/"+name, `{}`)).ETag()
}

func TestDigestsTellEqualValuesOfOneSecretAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	x := read[v1.Secret](f, f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/x", `{"stringData":{"a":"v","b":"v","c":"w"}}`))
	y := read[v1.Secret](f, f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/y", `{"stringData":{"a":"v"}}`))
	if x.Keys[0].Digest != x.Keys[1].Digest || x.Keys[0].Digest == x.Keys[2].Digest {
		t.Errorf("digests within one secret: %+v", x.Keys)
	}
	if x.Keys[0].Digest == y.Keys[0].Digest {
		t.Error("digests of two secrets can be compared")
	}
}

func TestFaultsOfASecretAreToldWithoutItsValues(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/opaque", `{}`)
	of := func(kind string, entries ...string) string {
		return `{"name":"x","namespace":"foo","type":"` + kind + `","stringData":{` + strings.Join(entries, ",") + `}}`
	}
	long := strings.Repeat("k", 254)
	for name, tc := range map[string]struct {
		method, path, body string
		want               []string
	}{
		"nothing at all": {"POST", "/v1/secrets", `{}`, []string{"name: is required", "namespace: is required"}},
		"values that are no base64": {
			"POST", "/v1/secrets", `{"name":"x","namespace":"foo","data":{"good":"","bad":"` + canary + `","worse":"====` + canary + `"}}`,
			[]string{"data[bad]: must be base64; use stringData for plain text", "data[worse]: must be base64; use stringData for plain text"},
		},
		"keys that are none": {
			"POST", "/v1/secrets", `{"name":"x","namespace":"foo","data":{"a b":""},"stringData":{"..":"` + canary + `","` + long + `":""}}`,
			[]string{
				"data[a b]: a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " +
					"regex used for validation is '[-._a-zA-Z0-9]+')",
				"stringData[..]: must not be '..'",
				"stringData[" + long[:253] + "...]: must be no more than 253 characters",
			},
		},
		"values of other types": {
			"POST", "/v1/secrets", `{"name":"x","namespace":"foo","data":{"pin":1234567},"stringData":["` + canary + `"]}`,
			[]string{"data.pin: must be a string, is a number", "stringData: must be an object, is an array"},
		},
		"null, which keeps nothing": {
			"PUT", "/v1/secrets/foo/opaque", `{"data":null,"stringData":null}`,
			[]string{"data: must not be null; leave it out to keep what is stored", "stringData: must not be null; leave it out to keep what is stored"},
		},
		"more than 1 MiB of values": {
			"POST", "/v1/secrets", of("Opaque", `"a":"`+strings.Repeat("x", 1<<20)+`"`, `"b":"y"`),
			[]string{"data: the values hold 1048577 bytes, more than 1048576"},
		},
		"another type": {
			"PUT", "/v1/secrets/foo/opaque", `{"type":"kubernetes.io/ssh-auth","stringData":{"ssh-privatekey":"` + canary + `"}}`,
			[]string{"type: is Opaque and cannot be changed, as on a target: delete the secret and create it anew, or give the new one another name"},
		},
		"half of a TLS secret": {
			"POST", "/v1/secrets", of("kubernetes.io/tls", `"tls.crt":"`+canary+`"`), []string{"data[tls.key]: is required by type kubernetes.io/tls"},
		},
		"a TLS secret without values": {
			"POST", "/v1/secrets", `{"name":"x","namespace":"foo","type":"kubernetes.io/tls"}`,
			[]string{"data[tls.crt]: is required by type kubernetes.io/tls", "data[tls.key]: is required by type kubernetes.io/tls"},
		},
		"the same by PUT": {
			"PUT", "/v1/secrets/foo/x", `{"type":"kubernetes.io/tls"}`,
			[]string{"data[tls.crt]: is required by type kubernetes.io/tls", "data[tls.key]: is required by type kubernetes.io/tls"},
		},
		"a docker configuration that is none": {
			"POST", "/v1/secrets", of("kubernetes.io/dockerconfigjson", `".dockerconfigjson":"{`+canary+`"`),
			[]string{"data[.dockerconfigjson]: must be a JSON object, as type kubernetes.io/dockerconfigjson requires"},
		},
		"an old docker configuration under another key": {
			"POST", "/v1/secrets", of("kubernetes.io/dockercfg", `".dockerconfigjson":"{}"`),
			[]string{"data[.dockercfg]: is required by type kubernetes.io/dockercfg"},
		},
		"basic authentication without any of both": {
			"POST", "/v1/secrets", of("kubernetes.io/basic-auth", `"user":"`+canary+`"`),
			[]string{"data: username or password is required by type kubernetes.io/basic-auth"},
		},
		"an empty SSH key": {
			"POST", "/v1/secrets", of("kubernetes.io/ssh-auth", `"ssh-privatekey":""`),
			[]string{"data[ssh-privatekey]: is required by type kubernetes.io/ssh-auth"},
		},
		"another cluster's token": {
			"POST", "/v1/secrets", of("kubernetes.io/service-account-token", `"token":"`+canary+`"`),
			[]string{
				"annotations[kubernetes.io/service-account.name]: is required by type kubernetes.io/service-account-token",
				"data[token]: is written by each target itself in a secret of type kubernetes.io/service-account-token: use Opaque to copy another cluster's",
			},
		},
		"marks of the system, and kubectl's copy": {
			"POST", "/v1/secrets", `{"name":"x","namespace":"foo","labels":{"syncsets.dev/managed":"true"},"annotations":{"syncsets.dev/owner":"me",
				"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"a\":\"` + canary + `\"}}"}}`,
			[]string{
				"labels[syncsets.dev/managed]: keys under syncsets.dev/ are set by the system",
				"annotations[syncsets.dev/owner]: keys under syncsets.dev/ are set by the system",
				"annotations[kubectl.kubernetes.io/last-applied-configuration]: holds a copy of the values: leave it out",
			},
		},
		"everything at once": {
			"POST", "/v1/secrets", `{"name":"A_b","bogus":"` + canary + `","kind":"Secrets","data":{"a":"` + canary + `"},"type":"kubernetes.io/tls"}`,
			[]string{
				"bogus: is not a known field", "kind: must be Secret",
				"name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an " +
					"alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
				"namespace: is required", "data[a]: must be base64; use stringData for plain text",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(tc.method, tc.path, tc.body)
			var got []string
			for _, fault := range a.fields() {
				got = append(got, fault.Path+": "+fault.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || a.status != http.StatusBadRequest {
				t.Errorf("status %d (-want +got):\n%s", a.status, diff)
			}
			if strings.Contains(string(a.body), canary) {
				t.Errorf("the answer shows a value: %s", a.body)
			}
		})
	}
	if got := len(f.changes()); got != 1 {
		t.Errorf("%d events, want that of the one secret", got)
	}
	if strings.Contains(f.logged.String(), canary) {
		t.Error("a log line shows a value")
	}
}

func TestTypesThatKubernetesKnowsAreAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, body := range []string{
		`{"type":"kubernetes.io/tls","stringData":{"tls.crt":"","tls.key":""}}`,
		`{"type":"kubernetes.io/dockerconfigjson","stringData":{".dockerconfigjson":"{\"auths\":{}}"}}`,
		`{"type":"kubernetes.io/dockercfg","stringData":{".dockercfg":"{}"}}`,
		`{"type":"kubernetes.io/basic-auth","stringData":{"password":"p"}}`,
		`{"type":"kubernetes.io/ssh-auth","stringData":{"ssh-privatekey":"k"}}`,
		`{"type":"kubernetes.io/service-account-token","annotations":{"kubernetes.io/service-account.name":"robot"}}`,
		`{"type":"bootstrap.kubernetes.io/token","stringData":{"token-id":"abcdef"}}`,
		`{"type":"example.com/own","stringData":{"anything":"goes"}}`,
	} {
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/secrets/foo/s%d", i), body)
	}
}

// Wherever a reader without the internal token can look, and in everything that is stored, there is no value.
func TestNoValueOfASecretIsShownOrStoredReadably(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.relay()
	seen := []string{}
	note := func(a answer) { seen = append(seen, string(a.body), fmt.Sprint(a.header)) }
	note(f.must(http.StatusCreated, "POST", "/v1/secrets", `{"name":"x","namespace":"foo","stringData":{"a":"`+canary+`"}}`))
	note(f.must(http.StatusOK, "PUT", "/v1/secrets/foo/x", `{"labels":{"a":"b"},"data":{"b":"`+b64(canary)+`"}}`))
	note(f.must(http.StatusOK, "PUT", "/v1/secrets/foo/x", `{}`))
	note(f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/y", `{"stringData":{"a":"`+canary+`"}}`))
	note(f.must(http.StatusNoContent, "DELETE", "/v1/secrets/foo/y", ""))
	note(f.must(http.StatusBadRequest, "PUT", "/v1/secrets/foo/x", `{"type":"no","stringData":{"a":"`+canary+`"}}`))
	note(f.must(http.StatusOK, "GET", "/v1/secrets/foo/x", ""))
	note(f.must(http.StatusOK, "GET", "/v1/secrets", ""))
	f.until("all events are in the log", func() bool {
		return len(read[outbox.Page](f, f.must(http.StatusOK, "GET", "/v1/events/secrets", "")).Items) == 5
	})
	note(f.must(http.StatusOK, "GET", "/v1/events/secrets", ""))
	note(f.ask(f.internal, "GET", "/internal/v1/events", ""))
	for query := ""; ; {
		a := f.ask(f.internal, "GET", "/internal/v1/sets"+query, "")
		note(a)
		page := read[v1.List[syncset.Entry]](f, a)
		if query = "?continue=" + page.Continue; page.Continue == "" {
			break
		}
	}
	seen = append(seen, f.logged.String(), f.dump())
	everything := strings.Join(seen, "\n")
	for what, value := range map[string]string{"plain": canary, "base64": b64(canary), "hex": fmt.Sprintf("%x", canary)} {
		if at := strings.Index(everything, value); at >= 0 {
			t.Errorf("the value can be read, %s: ...%.300s", what, everything[max(0, at-200):])
		}
	}
	if !strings.Contains(everything, "foo") || !strings.Contains(f.dump(), "secret_values") {
		t.Error("nothing was looked at")
	}
}

// dump is every row of every table of the schema as text.
func (f *fixture) dump() string {
	f.Helper()
	var text string
	err := f.db.Pool.QueryRow(f.Context(), `SELECT string_agg(table_name || ': ' ||
	query_to_xml(format('SELECT * FROM %I.%I', table_schema, table_name), true, false, '')::text, E'\n')
FROM information_schema.tables WHERE table_schema = 'syncsets'`).Scan(&text)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// Writing values needs the verb secrets beside write; the rest of a secret does not.
func TestValuesNeedTheVerbSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte(tokens(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixtureFor(t, access)
	const writer, keeper, reader = "Bearer writer", "Bearer keeper", "Bearer reader"
	const path, values = "/v1/secrets/foo/x", `{"stringData":{"a":"v"}}`
	for _, step := range []struct {
		who, method, path, body string
		status                  int
	}{
		{writer, "PUT", path, values, http.StatusForbidden},
		{writer, "POST", "/v1/secrets", `{"name":"x","namespace":"foo","data":{}}`, http.StatusForbidden},
		{keeper, "PUT", path, values, http.StatusCreated},
		{writer, "PUT", path, `{"labels":{"a":"b"}}`, http.StatusOK},
		{writer, "PUT", path, `{"data":{"a":""}}`, http.StatusForbidden},
		{reader, "GET", path, "", http.StatusOK},
		{reader, "PUT", path, `{}`, http.StatusForbidden},
		{keeper, "PUT", "/v1/secrets/bar/x", values, http.StatusForbidden},
		{writer, "DELETE", path, "", http.StatusNoContent},
	} {
		if a := f.do(step.method, step.path, step.body, "Authorization", step.who); a.status != step.status {
			t.Errorf("%s: %s %s %s: %d, want %d: %s", step.who, step.method, step.path, step.body, a.status, step.status, a.body)
		}
	}
}

// The values are for who has the internal token, and nobody else.
func TestValuesNeedTheInternalToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	uid := read[v1.Secret](f, f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/x", `{"stringData":{"a":"v"}}`)).UID
	f.must(http.StatusNotFound, "GET", "/internal/v1/secrets/"+uid+"/data", "")
	api := rest.NewAPI(rest.Options{Service: "syncsets", Auth: auth.NewShared("token"), Log: slog.New(slog.DiscardHandler)})
	store := postgres.NewSecretStore(f.db.Pool, f.keys, system, func() {})
	transport.Internal(api, nil, store.Data, nil)
	server := httptest.NewServer(api.Handler())
	t.Cleanup(server.Close)
	path := "/internal/v1/secrets/" + uid + "/data"
	if a := f.ask(server, "GET", path, "", "Authorization", "Bearer other"); a.status != http.StatusUnauthorized {
		t.Errorf("with another token: %d %s", a.status, a.body)
	}
	if a := f.ask(server, "GET", path, "", "Authorization", "Bearer token"); a.status != http.StatusOK {
		t.Errorf("with the token: %d %s", a.status, a.body)
	}
	if a := f.ask(server, "GET", "/internal/v1/secrets/x/data", "", "Authorization", "Bearer token"); a.status != http.StatusNotFound {
		t.Errorf("of a uid that is none: %d %s", a.status, a.body)
	}
}

// tokens is a file of three principals, whose tokens are their names: a reader, a writer without the verb secrets, and a keeper with it, who
// is at home in one namespace.
func tokens(t *testing.T) string {
	t.Helper()
	sum := func(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }
	return `tokens:
- {name: reader, sha256: ` + sum("reader") + `}
- {name: writer, sha256: ` + sum("writer") + `}
- {name: keeper, sha256: ` + sum("keeper") + `}
rules:
- {subjects: [reader], verbs: [read], resources: [secrets], namespaces: ["*"]}
- {subjects: [writer], verbs: [read, write], resources: [secrets], namespaces: ["*"]}
- {subjects: [keeper], verbs: [read, write, secrets], resources: [secrets], namespaces: [foo]}
`
}
