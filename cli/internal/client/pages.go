package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Get reads the document at path. It reports whether there is one.
func (c *Client) Get(ctx context.Context, path string) (json.RawMessage, bool, error) {
	answer, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path})
	var problem *Problem
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return nil, false, nil
	}
	return answer.Body, err == nil, err
}

// List reads all documents of a list, page by page.
func (c *Client) List(ctx context.Context, path string, query url.Values) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for {
		answer, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path, Query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Items    []json.RawMessage `json:"items"`
			Continue string            `json:"continue"`
		}
		if err := json.Unmarshal(answer.Body, &page); err != nil {
			return nil, fmt.Errorf("%s is no list: %w", path, err)
		}
		all = append(all, page.Items...)
		if page.Continue == "" {
			return all, nil
		}
		next := url.Values{}
		for name, values := range query {
			next[name] = values
		}
		next.Set("continue", page.Continue)
		query = next
	}
}
