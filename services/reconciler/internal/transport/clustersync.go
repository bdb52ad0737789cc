package transport

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/rest"
)

// clusterSyncParameters are the filters of the list of clustersyncs.
var clusterSyncParameters = append(slices.Clone(rest.ListParameters), "result", "reachable", "syncSet", "selectorSyncSet", "slow")

var (
	results      = []string{v1.ResultSuccess, v1.ResultFailure, v1.ResultPending, v1.ResultSuspended, v1.ResultHeld}
	reachability = []string{"True", "False", "Unknown"}
)

// clusterSyncList reads the list's parameters and checks its filters, all at once.
func clusterSyncList(r *http.Request) (rest.ListQuery, error) {
	q, err := rest.ListOf(r)
	if err != nil {
		return q, err
	}
	var faults []errs.Field
	fault := func(name, message string) {
		faults = append(faults, errs.Field{Path: "query." + name, Message: message})
	}
	if value, ok := q.Filters["result"]; ok && !slices.Contains(results, value) {
		fault("result", "must be one of "+strings.Join(results, ", "))
	}
	if value, ok := q.Filters["reachable"]; ok {
		if q.Filters["reachable"], ok = truth(value); !ok {
			fault("reachable", "must be one of true, false, unknown")
		}
	}
	if value, ok := q.Filters["syncSet"]; ok && strings.Count(strings.Trim(value, "/"), "/") != 1 {
		fault("syncSet", fmt.Sprintf("must be namespace/name, not %.100q", value))
	}
	if value, ok := q.Filters["selectorSyncSet"]; ok && (value == "" || strings.Contains(value, "/")) {
		fault("selectorSyncSet", "must be the name of a selectorsyncset")
	}
	if _, both := q.Filters["syncSet"]; both {
		if _, both = q.Filters["selectorSyncSet"]; both {
			fault("selectorSyncSet", "cannot be combined with syncSet: clusters are listed by one set")
		}
	}
	if value, ok := q.Filters["slow"]; ok && !positive(value) {
		fault("slow", fmt.Sprintf("must be a duration above zero, such as 30s or 1m30s, not %.100q: listed are clusters whose last run took longer",
			value))
	}
	if len(faults) > 0 {
		return q, &errs.Error{Kind: errs.Invalid, Message: "the request is not valid", Fields: faults}
	}
	return q, nil
}

// truth returns the value of a condition's status, however it is capitalised.
func truth(value string) (string, bool) {
	for _, known := range reachability {
		if strings.EqualFold(value, known) {
			return known, true
		}
	}
	return "", false
}

// positive reports whether text is a duration above zero.
func positive(text string) bool {
	d, err := time.ParseDuration(text)
	return err == nil && d > 0
}
