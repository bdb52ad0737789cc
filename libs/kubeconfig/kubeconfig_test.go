package kubeconfig_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/kubeconfig"
)

// with returns a kubeconfig with more lines in its cluster and in its user.
func with(cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: main
clusters:
- name: c
  cluster:
    server: https://api.example.com:6443
    %s
users:
- name: u
  user:
    token: s3cr3t
    %s
contexts:
- name: main
  context: {cluster: c, user: u, namespace: default}
`, cluster, user)
}

var dangerous = map[string]struct {
	text  string
	paths []string
}{
	"exec":                       {with("", "exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}"), []string{"users[0].user.exec"}},
	"empty exec":                 {with("", "exec: {}"), []string{"users[0].user.exec"}},
	"exec in capitals":           {with("", "Exec: {command: sh}"), []string{"users[0].user.Exec"}},
	"auth-provider":              {with("", "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}"), []string{"users[0].user.auth-provider"}},
	"client certificate by path": {with("", "client-certificate: /etc/passwd"), []string{"users[0].user.client-certificate"}},
	"client key by path":         {with("", "client-key: ./key"), []string{"users[0].user.client-key"}},
	"authority by path":          {with("certificate-authority: /etc/ca", ""), []string{"clusters[0].cluster.certificate-authority"}},
	"token file":                 {with("", "tokenFile: /var/run/secrets/token"), []string{"users[0].user.tokenFile"}},
	"proxy":                      {with("proxy-url: http://evil:3128", ""), []string{"clusters[0].cluster.proxy-url"}},
	"as":                         {with("", "as: admin"), []string{"users[0].user.as"}},
	"as-uid":                     {with("", "as-uid: '1'"), []string{"users[0].user.as-uid"}},
	"as-groups":                  {with("", "as-groups: [system:masters]"), []string{"users[0].user.as-groups"}},
	"as-user-extra":              {with("", "as-user-extra: {a: [b]}"), []string{"users[0].user.as-user-extra"}},
	"act-as":                     {with("", "act-as: admin"), []string{"users[0].user.act-as"}},
	"http":                       {strings.Replace(with("", ""), "https://", "http://", 1), []string{"clusters[0].cluster.server"}},
	"no scheme":                  {strings.Replace(with("", ""), "https://", "", 1), []string{"clusters[0].cluster.server"}},
	"unix socket":                {strings.Replace(with("", ""), "https://api.example.com:6443", "unix:///run/x", 1), []string{"clusters[0].cluster.server"}},
	"password in the server":     {strings.Replace(with("", ""), "https://", "https://me:pw@", 1), []string{"clusters[0].cluster.server"}},
	"query in the server":        {strings.Replace(with("", ""), ":6443", ":6443/?a=b", 1), []string{"clusters[0].cluster.server"}},
	"all faults at once": {
		with("proxy-url: http://x", "tokenFile: /t"), []string{"clusters[0].cluster.proxy-url", "users[0].user.tokenFile"},
	},
	"anchor":                          {with("", "") + "x: &a [1]\n", []string{"x"}},
	"alias":                           {with("", "") + "x: &a [1]\ny: *a\n", []string{"x", "y"}},
	"merge key":                       {with("", "<<: {exec: {command: sh}}"), []string{"users[0].user"}},
	"doubled key":                     {with("", "token: other"), []string{"users[0].user.token"}},
	"two texts":                       {with("", "") + "---\nfoo: bar\n", []string{""}},
	"too large":                       {with("", "") + "# " + strings.Repeat("x", kubeconfig.MaxSize), []string{""}},
	"in a user that no context names": {otherUser("exec: {command: sh}"), []string{"users[1].user.exec"}},
	"JSON":                            {`{"users":[{"name":"u","user":{"exec":{"command":"sh"}}}]}`, []string{"users[0].user.exec"}},
}

// otherUser is a good kubeconfig with a second user that no context names.
func otherUser(lines string) string {
	return strings.Replace(with("", ""), "contexts:", "- name: other\n  user:\n    "+lines+"\ncontexts:", 1)
}

func TestDangerousContentIsRefusedWhereverItStands(t *testing.T) {
	t.Parallel()
	for name, tc := range dangerous {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := kubeconfig.Check(tc.text)
			if diff := cmp.Diff(tc.paths, paths(err)); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			if !errs.Is(err, errs.Invalid) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("Check = %v, want an invalid error without the token", err)
			}
			if _, err := kubeconfig.Load(tc.text, kubeconfig.Policy{}); !errors.Is(err, kubeconfig.ErrInvalid) {
				t.Errorf("Load = %v, want ErrInvalid", err)
			}
		})
	}
}

func paths(err error) []string {
	var invalid *errs.Error
	if !errors.As(err, &invalid) {
		return nil
	}
	var list []string
	for _, f := range invalid.Fields {
		list = append(list, f.Path)
	}
	return list
}

func TestWhatCannotBeUsedIsNoErrorButLoadRefusesIt(t *testing.T) {
	t.Parallel()
	good := with("", "")
	for name, text := range map[string]string{
		"a word":                  "foobar",
		"nothing":                 "",
		"a comment":               "# nothing\n",
		"an empty document":       "---\n",
		"a list":                  "- a\n",
		"no YAML":                 "{a: [",
		"a tab":                   "a:\n\t- b\n",
		"no current context":      strings.Replace(good, "current-context: main", "", 1),
		"unknown context":         strings.Replace(good, "current-context: main", "current-context: x", 1),
		"unknown cluster":         strings.Replace(good, "cluster: c,", "cluster: x,", 1),
		"unknown user":            strings.Replace(good, "user: u,", "user: x,", 1),
		"no server":               strings.Replace(good, "server: https://api.example.com:6443", "", 1),
		"bad authority":           with("certificate-authority-data: bm90IGEgY2VydA==", ""),
		"authority not base64":    with("certificate-authority-data: '!!'", ""),
		"authority and insecure":  with("insecure-skip-tls-verify: true\n    certificate-authority-data: bm90IGEgY2VydA==", ""),
		"certificate without key": with("", "client-certificate-data: YQ=="),
		"no pair":                 with("", "client-certificate-data: YQ==\n    client-key-data: YQ=="),
		"token and password":      with("", "username: me"),
		"token with a line break": strings.Replace(good, "token: s3cr3t", `token: "a\r\nX-Header: b"`, 1),
		"clusters is no list":     "clusters: 1\n",
		"an entry is no mapping":  "clusters: [1]\n",
		"two of one name":         strings.Replace(good, "users:", "- name: c\n  cluster: {server: 'https://b'}\nusers:", 1),
		"neither true nor false":  with("insecure-skip-tls-verify: maybe", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := kubeconfig.Check(text)
			if err != nil || got.Usable || got.Fault == "" {
				t.Errorf("Check = %+v, %v, want a fault", got, err)
			}
			if _, err := kubeconfig.Load(text, kubeconfig.Policy{}); !errors.Is(err, kubeconfig.ErrInvalid) || !errs.Is(err, errs.Invalid) {
				t.Errorf("Load = %v, want ErrInvalid", err)
			}
		})
	}
}

func TestAYAMLBombIsRefusedUnopened(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	deep := "a: " + strings.Repeat("[", 200_000)
	for name, text := range map[string]string{"billion laughs": bomb.String(), "deep nesting": deep} {
		before := allocated()
		got, err := kubeconfig.Check(text)
		if got.Usable {
			t.Errorf("%s: usable, %v", name, err)
		}
		if grown := allocated() - before; grown > 1<<30 {
			t.Errorf("%s: %d MiB were allocated", name, grown>>20)
		}
	}
}

// allocated is how many bytes this process has ever allocated: the tests beside one are counted too, and small.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestLongNamesAreNotRepeatedInFull(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 200<<10)
	before := allocated()
	result, err := kubeconfig.Check("current-context: " + long[:10000] + "\nother: {? " + long + " : [" + strings.Repeat("0,", 100000) + "0]}")
	if err != nil || result.Usable || len(result.Fault) > 500 {
		t.Errorf("got %v and a fault of %d bytes", err, len(result.Fault))
	}
	// With the name in every value's path it takes twenty gigabytes.
	if grown := allocated() - before; grown > 2<<30 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
	_, err = kubeconfig.Check("a: [" + strings.Repeat("{a,a},", 1000) + "]")
	var known *errs.Error
	if !errors.As(err, &known) || len(known.Fields) != 100 {
		t.Errorf("a thousand faults: got %.200v, want the first hundred", err)
	}
}

func TestCheckTellsServerExpiryAndInsecurity(t *testing.T) {
	t.Parallel()
	end := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	claims, err := json.Marshal(map[string]any{"exp": end.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	jwt := "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
	text := strings.Replace(with("insecure-skip-tls-verify: true", ""), "s3cr3t", jwt, 1)
	got, err := kubeconfig.Check(text)
	want := kubeconfig.Result{Usable: true, Server: "https://api.example.com:6443", ExpiresAt: &end, Insecure: true}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := kubeconfig.Load(text, kubeconfig.Policy{}); !errors.Is(err, kubeconfig.ErrInvalid) {
		t.Errorf("Load = %v, want ErrInvalid without AllowInsecure", err)
	}
	config, err := kubeconfig.Load(text, kubeconfig.Policy{AllowInsecure: true})
	if err != nil || config.Host != got.Server || config.BearerToken != jwt || !config.Insecure {
		t.Errorf("Load = %v, %v", config, err)
	}
	if got, err := kubeconfig.Check(with("", "as: ''\n    exec: null")); err != nil || !got.Usable || got.ExpiresAt != nil {
		t.Errorf("keys without a value: %+v, %v", got, err)
	}
}
