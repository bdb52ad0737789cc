package postgres_test

import (
	"slices"
	"testing"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// largePage is what the documents of a page may come to.
const largePage = 8 << 20

// walk goes through all pages of a list; no page but one of a single document may be too large.
func walk[T any](t *testing.T, list func(token string) (v1.List[T], error), name func(T) string) (names []string, pages int) {
	t.Helper()
	token := ""
	for {
		found, err := list(token)
		check(t, err)
		pages++
		size := 0
		for _, d := range found.Items {
			names, size = append(names, name(d)), size+len(encoded(t, d))
		}
		if size > largePage && len(found.Items) > 1 || len(found.Items) == 0 {
			t.Errorf("page %d has %d documents of %d bytes", pages, len(found.Items), size)
		}
		if token = found.Continue; token == "" {
			return names, pages
		}
	}
}

func TestPagesOfLargeDocumentsEndEarly(t *testing.T) {
	t.Parallel()
	store := fleetOf(t, 120, 110)
	for _, sql := range []string{
		`UPDATE reconciler.cluster_sets SET result = 'Failure', message = repeat('x', 300 * 1024) WHERE set_uid = md5('s1')::uuid`,
		`UPDATE reconciler.cluster_sets SET message = repeat('x', 9 * 1024 * 1024)
WHERE set_uid = md5('s1')::uuid AND cluster_uid = md5('c7')::uuid`,
		`INSERT INTO reconciler.setsyncs (set_uid, counted_at, next_at, status)
SELECT uid, now(), now(), jsonb_build_object('failures', jsonb_build_array(jsonb_build_object('message',
	repeat('x', CASE name WHEN 'set-7' THEN 9 * 1024 * 1024 ELSE 300 * 1024 END)))) FROM reconciler.sets
ON CONFLICT (set_uid) DO UPDATE SET status = excluded.status`,
	} {
		if _, err := store.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for name, filters := range map[string]map[string]string{
		"all clusters": nil, "clusters of a set": {"selectorSyncSet": "set-1"}, "failing": {"result": v1.ResultFailure},
	} {
		names, pages := walk(t, func(token string) (v1.List[v1.ClusterSync], error) {
			return store.ListClusterSyncs(t.Context(), request.List{Limit: 100, Filters: filters, Continue: token})
		}, func(d v1.ClusterSync) string { return d.Namespace + "/" + d.Name })
		inOrder(t, name, names, 120, pages)
	}
	names, pages := walk(t, func(token string) (v1.List[v1.SetSync], error) {
		return store.ListSetSyncs(t.Context(), request.List{Limit: 100, Continue: token})
	}, func(d v1.SetSync) string { return d.Name })
	inOrder(t, "sets", names, 110, pages)
}

// inOrder checks that n documents come once each, on more pages than their number alone would need.
func inOrder(t *testing.T, what string, names []string, n, pages int) {
	t.Helper()
	want(t, what, len(names), n)
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("%s: not in order, or one comes twice", what)
	}
	if pages < 4 {
		t.Errorf("%s: %d pages for %d MiB", what, pages, n*300>>10)
	}
}

func TestPagesOfSmallDocumentsAreAsLongAsAskedFor(t *testing.T) {
	t.Parallel()
	store := fleetOf(t, 120, 110)
	for limit, lengths := range map[int][]int{49: {49, 49, 12}, 50: {50, 50, 10}, 51: {51, 51, 8}, 55: {55, 55}, 110: {110}, 200: {110}} {
		got, token := []int{}, ""
		for first := true; first || token != ""; first = false {
			found, err := store.ListSetSyncs(t.Context(), request.List{Limit: limit, Continue: token})
			check(t, err)
			got, token = append(got, len(found.Items)), found.Continue
		}
		want(t, "pages of sets", got, lengths)
	}
	for limit, lengths := range map[int][]int{50: {50, 50, 20}, 60: {60, 60}, 119: {119, 1}, 120: {120}} {
		got, token := []int{}, ""
		for first := true; first || token != ""; first = false {
			found, err := store.ListClusterSyncs(t.Context(), request.List{Limit: limit, Continue: token})
			check(t, err)
			got, token = append(got, len(found.Items)), found.Continue
		}
		want(t, "pages of clusters", got, lengths)
	}
}
