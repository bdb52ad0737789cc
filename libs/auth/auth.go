// Package auth says who a caller is and what it may do. An Authenticator turns a request into a Principal and decides about an
// access; one endpoint middleware asks it before every operation. Subjects come from credentials alone, never from the request's content.
package auth

import (
	"context"
	"net/http"

	"github.com/go-kit/kit/endpoint"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/errs"
)

// Verb is a class of operations that a rule can grant.
type Verb string

// The verbs.
const (
	Read    Verb = "read"    // documents, lists, feeds
	Write   Verb = "write"   // documents, rollback, import, sync
	Secrets Verb = "secrets" // writing secret values and kubeconfigs, beside write
	Confirm Verb = "confirm" // confirm, reject, continue, accept-identity
	Admin   Verb = "admin"   // pause, resume, recovery, audit
)

// Principal is who makes a request. The zero value is nobody.
type Principal struct {
	Name   string
	Groups []string
}

// Somewhere is the namespace of an access whose real one is not known yet: it is granted to whoever may do the same in any namespace.
// What it lets through has to be asked for again when the namespace is known.
const Somewhere = "?"

// Anything is the resource of an access whose real ones are not known yet: it is granted to whoever may do the same with any resource. What
// it lets through has to be asked for again when the resources are known.
const Anything = "?"

// Access is one thing that a principal wants to do. Namespace "" means the whole system: a resource without namespaces, or all of them.
type Access struct {
	Verb      Verb
	Resource  string
	Namespace string
}

// Authenticator knows the callers and their rights.
type Authenticator interface {
	// Authenticate names the caller of r, or returns errs.Unauthenticated.
	Authenticate(r *http.Request) (Principal, error)
	// Authorize returns errs.Forbidden unless p may do a.
	Authorize(ctx context.Context, p Principal, a Access) error
}

// Scoped is a request that knows the namespace it is about; "" is the whole system.
type Scoped interface{ Scope() string }

// Sensitive is a request that may carry secret values, which needs the verb Secrets beside its own.
type Sensitive interface{ CarriesSecrets() bool }

// Composite is a request that needs several accesses, each allowed, in place of the one that its route names.
type Composite interface{ Accesses() []Access }

type principalKey struct{}

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the principal of ctx, nobody when there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// Middleware lets a request through to the endpoint only when the context's principal may do verb on resource, in the namespace that the
// request names.
func Middleware(a Authenticator, verb Verb, resource string) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request any) (any, error) {
			if err := AuthorizeRequest(ctx, a, verb, resource, request); err != nil {
				return nil, err
			}
			return next(ctx, request)
		}
	}
}

// AuthorizeRequest returns errs.Forbidden unless the context's principal may do verb on resource, in the namespace and with the secret
// values that the request names.
func AuthorizeRequest(ctx context.Context, a Authenticator, verb Verb, resource string, request any) error {
	p := From(ctx)
	if p.Name == "" {
		return errs.New(errs.Unauthenticated, "no credentials")
	}
	access, err := Access{Verb: verb, Resource: resource}, error(nil)
	for _, access = range accesses(access, request) {
		if err = a.Authorize(ctx, p, access); err != nil {
			break
		}
	}
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.String("syncsets.principal", p.Name),
		attribute.String("syncsets.access.verb", string(access.Verb)),
		attribute.String("syncsets.access.resource", access.Resource),
		attribute.String("syncsets.access.namespace", access.Namespace),
		attribute.Bool("syncsets.access.allowed", err == nil),
	)
	return err
}

// accesses are all that a request needs, given the one that its route names.
func accesses(route Access, request any) []Access {
	if c, ok := request.(Composite); ok {
		return c.Accesses()
	}
	if s, ok := request.(Scoped); ok {
		route.Namespace = s.Scope()
	}
	all := []Access{route}
	if s, ok := request.(Sensitive); ok && s.CarriesSecrets() {
		route.Verb = Secrets
		all = append(all, route)
	}
	return all
}
