package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/syncsets/syncsets/libs/errs"
)

// NewShared returns an Authenticator for an internal listener: whoever holds the one shared secret is the principal "internal" and may do
// everything there. An empty secret lets everybody in, for listeners that nobody but this machine can reach.
func NewShared(secret string) Authenticator { return shared{secret} }

type shared struct{ secret string }

// Authenticate compares in constant time.
func (s shared) Authenticate(r *http.Request) (Principal, error) {
	token, ok := BearerToken(r)
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.secret))
	if s.secret != "" && (!ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1) {
		return Principal{}, errs.New(errs.Unauthenticated, "the internal listener needs its bearer token")
	}
	return Principal{Name: "internal"}, nil
}

func (shared) Authorize(context.Context, Principal, Access) error { return nil }
