// Package source reads what the other services tell only each other: their event logs, lists of their documents,
// kubeconfigs and values of secrets.
package source

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
)

const (
	timeout    = 30 * time.Second
	answerMost = 64 << 20 // no page is larger
)

// Client reads one service's internal listener. It is safe for concurrent use.
type Client struct {
	base, token string
	http        *http.Client
}

// New returns a client for the listener at base, such as http://127.0.0.1:7181.
func New(base, token string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	return &Client{
		base: strings.TrimSuffix(base, "/"), token: token,
		http: &http.Client{Transport: otelhttp.NewTransport(transport), Timeout: timeout},
	}
}

// Events returns the page of the service's log behind since. It returns errs.Gone when since cannot be continued from.
func (c *Client) Events(ctx context.Context, since outbox.Revision, limit int) (outbox.Page, error) {
	var page outbox.Page
	err := c.get(ctx, "/internal/v1/events", url.Values{"since": {since.String()}, "limit": {strconv.Itoa(limit)}}, &page)
	return page, err
}

// List is a page of a service's documents, and the position in its log that the whole list is consistent with.
type List struct {
	Items    []json.RawMessage `json:"items"`
	Continue string            `json:"continue"`
	Revision outbox.Revision   `json:"revision"`
}

// List returns a page of the list at path, such as "clusters". It returns errs.Gone when the list must be started over.
func (c *Client) List(ctx context.Context, path, next string, limit int) (List, error) {
	var list List
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if next != "" {
		query.Set("continue", next)
	}
	err := c.get(ctx, "/internal/v1/"+path, query, &list)
	return list, err
}

// Kubeconfig returns a cluster's kubeconfig and its version. It returns errs.NotFound when the cluster is gone. Neither errors nor
// logs of this package contain the text.
func (c *Client) Kubeconfig(ctx context.Context, clusterUID string) (version int64, text string, err error) {
	var answer struct {
		Version    int64  `json:"version"`
		Kubeconfig string `json:"kubeconfig"`
	}
	err = c.get(ctx, "/internal/v1/clusters/"+url.PathEscape(clusterUID)+"/kubeconfig", nil, &answer)
	return answer.Version, answer.Kubeconfig, err
}

// Cleaned says that nothing of ours is left on a cluster's target. It returns errs.NotFound when the cluster is gone already,
// errs.Conflict when nobody wants it to go.
func (c *Client) Cleaned(ctx context.Context, clusterUID string) error {
	return c.send(ctx, http.MethodPost, "/internal/v1/clusters/"+url.PathEscape(clusterUID)+"/cleaned", nil, nil)
}

// SecretData returns a secret's values, base64 by key, and their version. It returns errs.NotFound when the secret is gone. Neither errors nor
// logs of this package contain them.
func (c *Client) SecretData(ctx context.Context, secretUID string) (version int64, data map[string]string, err error) {
	var answer struct {
		Version int64             `json:"version"`
		Data    map[string]string `json:"data"`
	}
	err = c.get(ctx, "/internal/v1/secrets/"+url.PathEscape(secretUID)+"/data", nil, &answer)
	return answer.Version, answer.Data, err
}

func (c *Client) get(ctx context.Context, path string, query url.Values, answer any) error {
	return c.send(ctx, http.MethodGet, path, query, answer)
}

// send makes a request without a body. A nil answer is one without content.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, answer any) error {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return errs.Wrap(errs.Invalid, err, "%s is not the address of a service", c.base)
	}
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return errs.Wrap(errs.Unavailable, err, "%s does not answer", c.base)
	}
	defer func() { _ = res.Body.Close() }()
	body := io.LimitReader(res.Body, answerMost)
	if answer == nil && res.StatusCode == http.StatusNoContent {
		return nil
	}
	if res.StatusCode != http.StatusOK {
		return failure(res.StatusCode, method, path, body)
	}
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return errs.Wrap(errs.Unavailable, err, "read the answer to %s %s", method, path)
	}
	return nil
}

// failure classifies an answer that is not 200.
func failure(status int, method, path string, body io.Reader) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.NewDecoder(io.LimitReader(body, 64<<10)).Decode(&problem)
	kind := map[int]errs.Kind{
		http.StatusNotFound: errs.NotFound, http.StatusGone: errs.Gone, http.StatusUnauthorized: errs.Unauthenticated,
		http.StatusForbidden: errs.Forbidden, http.StatusBadRequest: errs.Invalid, http.StatusConflict: errs.Conflict,
	}[status]
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		kind = errs.Unavailable
	}
	return errs.New(kind, "%s %s: %s", method, path, fmt.Sprintf("%d %s", status, problem.Detail))
}
