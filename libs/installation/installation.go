// Package installation reads the id of the system that a service belongs to. The clusters service made it once; the others ask its
// internal listener at every start, so that two systems mixed up by a wrong address are noticed before anything is written.
package installation

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/errs"
)

// Path is where the clusters service answers on its internal listener.
const Path = "/internal/v1/installation"

// Document is the answer at Path.
type Document struct {
	ID string `json:"id"`
}

// requestTimeout bounds one attempt; sayEvery is how often waiting is logged.
const (
	requestTimeout = 5 * time.Second
	sayEvery       = 30 * time.Second
)

// Wait asks the clusters service at base (such as http://clusters:8080), with its internal bearer token, until it tells the id, or
// returns ctx's error. It says at once that it waits, then twice a minute.
func Wait(ctx context.Context, base, token string, log *slog.Logger) (string, error) {
	retry := backoff.New(200*time.Millisecond, 10*time.Second)
	client := &http.Client{Timeout: requestTimeout}
	var said time.Time
	for {
		id, err := Read(ctx, client, base, token)
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if time.Since(said) > sayEvery {
			log.WarnContext(ctx, "waiting for the clusters service to tell the installation", "url", base, "error", err)
			said = time.Now()
		}
		if err := retry.Wait(ctx); err != nil {
			return "", err
		}
	}
}

// Read asks once. It returns errs.Unavailable when there is no id to be had.
func Read(ctx context.Context, client *http.Client, base, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+Path, nil)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, err, "the URL of the clusters service cannot be used")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", errs.Wrap(errs.Unavailable, err, "the clusters service does not answer")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", errs.New(errs.Unavailable, "the clusters service answered %s for its installation", response.Status)
	}
	var document Document
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<10)).Decode(&document); err != nil {
		return "", errs.Wrap(errs.Unavailable, err, "the clusters service told no installation")
	}
	if _, err := uuid.Parse(document.ID); err != nil {
		return "", errs.Wrap(errs.Unavailable, err, "the clusters service told no installation")
	}
	return document.ID, nil
}

// Check returns errs.Conflict unless schema, which belongs to known, is of the system that the clusters service told.
func Check(schema, known, told string) error {
	if known == told {
		return nil
	}
	return errs.New(errs.Conflict, "the schema %s belongs to installation %s, but the clusters service says %s: POSTGRES_PARAMS or "+
		"CLUSTERS_INTERNAL_URL leads to another system", schema, known, told)
}
