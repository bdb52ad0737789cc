package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/syncsets/syncsets/libs/errs"
)

// Token is one bearer token of the file, by the SHA-256 of its text in hex.
type Token struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
	SHA256 string   `json:"sha256"`
}

// Rule grants verbs on resources in namespaces to subjects and groups; "*" in a list means all of it. A rule that lists namespaces
// grants nothing on the whole system (lists over all namespaces, selectorsyncsets).
type Rule struct {
	Subjects   []string `json:"subjects,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Verbs      []Verb   `json:"verbs"`
	Resources  []string `json:"resources"`
	Namespaces []string `json:"namespaces"`
}

type tokens struct {
	principals map[[sha256.Size]byte]Principal
	rules      []Rule
}

// NewTokens reads bearer tokens and rules from a YAML file: "tokens" (name, groups, sha256) and "rules" (subjects, groups, verbs,
// resources, namespaces). Its errors name every fault of the file.
func NewTokens(path string) (Authenticator, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	var file struct {
		Tokens []Token `json:"tokens"`
		Rules  []Rule  `json:"rules"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("read tokens from %s: %w", path, err)
	}
	t := &tokens{principals: map[[sha256.Size]byte]Principal{}, rules: file.Rules}
	faults := slices.Concat(t.add(file.Tokens), checkRules(file.Rules))
	if len(faults) > 0 {
		return nil, fmt.Errorf("read tokens from %s: %w", path, errs.InvalidFields(faults...))
	}
	return t, nil
}

func (t *tokens) add(list []Token) []errs.Field {
	var faults []errs.Field
	if len(list) == 0 {
		faults = append(faults, errs.Field{Path: "tokens", Message: "is empty: nobody could come in"})
	}
	for i, token := range list {
		path := fmt.Sprintf("tokens[%d]", i)
		if token.Name == "" {
			faults = append(faults, errs.Field{Path: path + ".name", Message: "is required"})
		}
		sum, err := hex.DecodeString(token.SHA256)
		if err != nil || len(sum) != sha256.Size {
			faults = append(faults, errs.Field{Path: path + ".sha256", Message: "must be the SHA-256 of the token in 64 hex digits"})
			continue
		}
		hash := [sha256.Size]byte(sum)
		if _, taken := t.principals[hash]; taken {
			faults = append(faults, errs.Field{Path: path + ".sha256", Message: "is there twice"})
		}
		t.principals[hash] = Principal{Name: token.Name, Groups: token.Groups}
	}
	return faults
}

func checkRules(rules []Rule) []errs.Field {
	var faults []errs.Field
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		if len(r.Subjects)+len(r.Groups) == 0 {
			faults = append(faults, errs.Field{Path: path, Message: "needs subjects or groups"})
		}
		for j, v := range r.Verbs {
			if !slices.Contains([]Verb{Read, Write, Secrets, Confirm, Admin, "*"}, v) {
				faults = append(faults, errs.Field{
					Path: fmt.Sprintf("%s.verbs[%d]", path, j), Message: "must be read, write, secrets, confirm, admin or *",
				})
			}
		}
		faults = append(faults, required(path+".verbs", len(r.Verbs))...)
		faults = append(faults, required(path+".resources", len(r.Resources))...)
		faults = append(faults, required(path+".namespaces", len(r.Namespaces))...)
	}
	return faults
}

func required(path string, entries int) []errs.Field {
	if entries > 0 {
		return nil
	}
	return []errs.Field{{Path: path, Message: `is required; "*" means all`}}
}

// Authenticate finds the principal of the bearer token. Tokens are compared by their hashes, so the time taken says nothing about them.
func (t *tokens) Authenticate(r *http.Request) (Principal, error) {
	token, ok := BearerToken(r)
	if !ok {
		return Principal{}, errs.New(errs.Unauthenticated, "send a token: Authorization: Bearer <token>")
	}
	p, ok := t.principals[sha256.Sum256([]byte(token))]
	if !ok {
		return Principal{}, errs.New(errs.Unauthenticated, "the token is not known")
	}
	return p, nil
}

func (t *tokens) Authorize(_ context.Context, p Principal, a Access) error {
	for _, r := range t.rules {
		if r.grants(p, a) {
			return nil
		}
	}
	where := "in namespace " + a.Namespace
	switch a.Namespace {
	case "":
		where = "in all namespaces"
	case Somewhere:
		where = "in any namespace"
	}
	what := a.Resource
	if what == Anything {
		what = "anything"
	}
	return errs.New(errs.Forbidden, "%s may not %s %s %s", p.Name, a.Verb, what, where)
}

func (r Rule) grants(p Principal, a Access) bool {
	subject := has(r.Subjects, p.Name) || slices.ContainsFunc(p.Groups, func(g string) bool { return has(r.Groups, g) })
	namespace := a.Namespace == Somewhere || slices.Contains(r.Namespaces, "*") ||
		(a.Namespace != "" && slices.Contains(r.Namespaces, a.Namespace))
	return subject && namespace && has(r.Verbs, a.Verb) && (a.Resource == Anything || has(r.Resources, a.Resource))
}

func has[T ~string](list []T, want T) bool {
	return slices.Contains(list, want) || slices.Contains(list, "*")
}

// BearerToken returns the token of r's Authorization header.
func BearerToken(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}
