package document

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// position is where a list over several pages stands: the revision of its first page and the token of the next.
type position struct {
	Revision string `json:"r"`
	Token    string `json:"t"`
}

// Snapshot makes all pages of list carry the revision of the first: whoever has read them all and follows the feed from there misses
// nothing. It returns errs.Gone when the log began a new epoch between two pages.
func Snapshot[T any](list func(context.Context, request.List) (v1.List[T], error)) func(context.Context, request.List) (v1.List[T], error) {
	return func(ctx context.Context, q request.List) (v1.List[T], error) {
		var at position
		following := q.Continue != ""
		if following && !at.decode(q.Continue) {
			return v1.List[T]{}, errs.New(errs.Invalid, "continue is not a token of this list; take it from the page before")
		}
		q.Continue = at.Token
		page, err := list(ctx, q)
		if err != nil {
			return page, err
		}
		if following {
			if !sameEpoch(at.Revision, page.Revision) {
				return v1.List[T]{}, errs.New(errs.Gone, "the event log began anew during the list: start over")
			}
			page.Revision = at.Revision
		}
		if page.Continue != "" {
			page.Continue = position{Revision: page.Revision, Token: page.Continue}.encode()
		}
		return page, nil
	}
}

func (p position) encode() string {
	text, _ := json.Marshal(p) // two strings always encode
	return base64.RawURLEncoding.EncodeToString(text)
}

func (p *position) decode(token string) bool {
	text, err := base64.RawURLEncoding.DecodeString(token)
	return err == nil && json.Unmarshal(text, p) == nil && p.Token != ""
}

func sameEpoch(a, b string) bool {
	first, _, _ := strings.Cut(a, ".")
	second, _, _ := strings.Cut(b, ".")
	return first == second
}
