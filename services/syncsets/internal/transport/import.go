package transport

import (
	"net/http"

	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/hive"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/syncsets/internal/intake"
)

// importRoute takes Hive's documents. What it needs beside is in its request: each resource in each namespace concerned.
func importRoute(a *rest.API, s *intake.Service) {
	rest.Handle(a, rest.Route{
		Operation: "Import", Method: http.MethodPost, Path: "/v1/import", Verb: auth.Write, Resource: auth.Anything,
		Query: []string{"dryRun", "suspended"}, Media: []string{"application/yaml", "application/json"},
	}, s.Import, importOf(s))
}

// importOf returns the decoder of an import: the faults of reading the documents are reported with those that they have besides.
func importOf(s *intake.Service) func(*http.Request) (intake.Request, error) {
	return func(r *http.Request) (intake.Request, error) {
		dryRun, err := flag(r, "dryRun")
		if err != nil {
			return intake.Request{}, err
		}
		suspended, err := flag(r, "suspended")
		if err != nil {
			return intake.Request{}, err
		}
		body, err := rest.Raw(r)
		if err != nil {
			return intake.Request{}, err
		}
		items, faults := hive.Decode(body, hive.Options{Suspended: suspended})
		if len(faults) > 0 {
			faults = rest.Merge(faults, s.Validate(items))
		}
		return intake.Request{Items: items, DryRun: dryRun}, errs.InvalidFields(faults...)
	}
}

// flag reads a query parameter that is true, false or absent.
func flag(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if r.URL.Query().Has(name) {
		return false, rest.InvalidParameter(name, "must be true or false")
	}
	return false, nil
}
