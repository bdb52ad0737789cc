package transport_test

import (
	"net/http"
	"strings"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

func TestTheLastDigitOfANumberIsANewGenerationAndItsSpellingIsNot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	put := func(number string) int64 {
		t.Helper()
		body := `{"resources":[{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"spec":{"n":` + number + `}}]}`
		a := f.do("PUT", "/v1/syncsets/foo/a", body)
		if a.status != http.StatusOK && a.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", number, a.status, a.body)
		}
		return read[v1.SyncSet](f, a).Generation
	}
	for _, step := range []struct {
		number string
		want   int64
	}{
		{"9007199254740992", 1}, {"9007199254740993", 2}, {"9007199254740993", 2}, {"1e2", 3}, {"100", 3}, {"1.0E+2", 3}, {"-0", 4}, {"0", 4}, {"0.5", 5},
	} {
		if got := put(step.number); got != step.want {
			t.Errorf("after %s the generation is %d, not %d", step.number, got, step.want)
		}
	}
}

func TestADocumentOfCountlessFaultsIsAnsweredWithTheFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for what, body := range map[string]string{
		"resources": `{"namespace":"foo","name":"a","resources":[` + strings.Repeat("1,", 1<<20) + `1]}`,
		"refs":      `{"namespace":"foo","name":"a","clusterRefs":[` + strings.Repeat(`{"name":"B"},`, 1<<17) + `{"name":"B"}]}`,
	} {
		a := f.must(http.StatusBadRequest, "POST", "/v1/syncsets", body)
		if got := len(a.fields()); got != 100 {
			t.Errorf("%s: %d faults, not 100", what, got)
		}
	}
}
