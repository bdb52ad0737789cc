package document_test

import (
	"context"
	"testing"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/errs"
)

func TestAllPagesOfASnapshotCarryTheRevisionOfTheFirst(t *testing.T) {
	t.Parallel()
	revisions := map[string]string{"": "e.7", "second": "e.9", "third": "f.1"}
	following := map[string]string{"": "second", "second": "third"}
	list := document.Snapshot(func(_ context.Context, q request.List) (v1.List[int], error) {
		return v1.List[int]{Continue: following[q.Continue], Revision: revisions[q.Continue]}, nil
	})
	first, err := list(t.Context(), request.List{})
	if err != nil || first.Revision != "e.7" {
		t.Fatalf("first page: %+v, %v", first, err)
	}
	second, err := list(t.Context(), request.List{Continue: first.Continue})
	if err != nil || second.Revision != "e.7" {
		t.Fatalf("second page: %+v, %v", second, err)
	}
	if _, err := list(t.Context(), request.List{Continue: second.Continue}); !errs.Is(err, errs.Gone) {
		t.Errorf("a page of another epoch: %v, want gone", err)
	}
	if _, err := list(t.Context(), request.List{Continue: "x"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("no token: %v, want an invalid error", err)
	}
}
