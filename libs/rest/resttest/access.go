// Package resttest checks what every API must do, whatever its routes are.
package resttest

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/rest"
)

var variable = regexp.MustCompile(`\{[a-z]+\}`)

// NobodyGetsIn asks each route that register adds without a token, which must be answered 401, and with the token of somebody without a
// rule: 403, whatever else is wrong with the request. No operation is reached, so register needs no parts that work.
func NobodyGetsIn(t *testing.T, register func(*rest.API)) {
	t.Helper()
	const token = "stranger-token"
	text := fmt.Sprintf("tokens: [{name: stranger, sha256: %x}]", sha256.Sum256([]byte(token)))
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, access, register, map[string]int{"": http.StatusUnauthorized, "another": http.StatusUnauthorized, token: http.StatusForbidden})
}

// NobodyGetsInInside is NobodyGetsIn for an internal listener, which knows one token.
func NobodyGetsInInside(t *testing.T, register func(*rest.API)) {
	t.Helper()
	refuses(t, auth.NewShared("the one token"), register, map[string]int{"": http.StatusUnauthorized, "another": http.StatusUnauthorized})
}

// refuses asks every route with each token and compares the status.
func refuses(t *testing.T, access auth.Authenticator, register func(*rest.API), statuses map[string]int) {
	t.Helper()
	api := rest.NewAPI(rest.Options{Service: t.Name(), Auth: access, Log: slog.New(slog.DiscardHandler)})
	register(api)
	if len(api.Routes()) == 0 {
		t.Fatal("there are no routes")
	}
	handler := api.Handler()
	for _, route := range api.Routes() {
		for token, status := range statuses {
			r := httptest.NewRequestWithContext(t.Context(), route.Method, variable.ReplaceAllString(route.Path, "x"), strings.NewReader("{"))
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			if answer.Code != status {
				t.Errorf("%s %s with token %q: %d, want %d: %s", route.Method, route.Path, token, answer.Code, status, answer.Body)
			}
		}
	}
}
