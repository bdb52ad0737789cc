package transport_test

import (
	"net/http"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
)

func TestACleanupKeepsTheDocumentUntilNothingIsLeftOnTheTarget(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	created := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good))).document(t)

	leaving := s.must(t, http.StatusAccepted, "DELETE", one+"?cleanup=true&deletionHold=false", "").document(t)
	if leaving.DeletionRequestedAt == nil || leaving.Generation != created.Generation+1 || leaving.UID != created.UID {
		t.Fatalf("the document that stays: %+v", leaving)
	}
	s.must(t, http.StatusConflict, "DELETE", one, "")
	again := s.must(t, http.StatusAccepted, "DELETE", one+"?cleanup=true", "").document(t)
	if !again.DeletionRequestedAt.Equal(*leaving.DeletionRequestedAt) || again.Generation != leaving.Generation {
		t.Errorf("asking twice changes %+v to %+v", leaving, again)
	}
	if kept := s.must(t, http.StatusOK, "PUT", one, with("")).document(t); kept.DeletionRequestedAt == nil {
		t.Error("a replacement takes the wish back")
	}

	cleaned := s.internal + "/internal/v1/clusters/" + created.UID + "/cleaned"
	if a := call(t, "POST", cleaned, "", "Authorization: Bearer "+internalToken); a.status != http.StatusNoContent {
		t.Fatalf("cleaned: %d %s", a.status, a.text)
	}
	s.must(t, http.StatusNotFound, "GET", one, "")
	if a := call(t, "POST", cleaned, "", "Authorization: Bearer "+internalToken); a.status != http.StatusNotFound {
		t.Errorf("cleaned twice: %d %s", a.status, a.text)
	}
	wantOption(t, s, "cleanup")
}

// wantOption checks that the planner is told of an option of some write.
func wantOption(t *testing.T, s *system, name string) {
	t.Helper()
	var count int
	err := s.pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM clusters.outbox WHERE options ? $1", name).Scan(&count)
	if err != nil || count == 0 {
		t.Errorf("%d events carry the option %s: %v", count, name, err)
	}
}

func TestOnlyForceForgetsAClusterThatIsBeingCleanedUp(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)))
	s.must(t, http.StatusAccepted, "DELETE", one+"?cleanup=true", "")
	s.must(t, http.StatusNoContent, "DELETE", one+"?force=true", "")
	s.must(t, http.StatusNotFound, "GET", one, "")
}

func TestNothingIsCleanedUpOnASuspendedCluster(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(`, "suspended": true`+kubeconfig(good)))
	s.must(t, http.StatusConflict, "DELETE", one+"?cleanup=true", "")
	s.must(t, http.StatusNoContent, "DELETE", one, "")
}

func TestAClusterThatNobodyWantsCleanedUpStays(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	created := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good))).document(t)
	a := call(t, "POST", s.internal+"/internal/v1/clusters/"+created.UID+"/cleaned", "", "Authorization: Bearer "+internalToken)
	if a.status != http.StatusConflict {
		t.Errorf("%d %s", a.status, a.text)
	}
	var kept v1.Cluster
	decode(t, s.must(t, http.StatusOK, "GET", one, "").text, &kept)
	if kept.UID != created.UID {
		t.Errorf("%+v", kept)
	}
}
