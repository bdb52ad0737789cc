// Package client talks to the front door over HTTP.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/syncsets/syncsets/libs/errs"
)

// timeout bounds one request: a little more than the services give themselves.
const timeout = 45 * time.Second

// maxAnswer bounds an answer in bytes; a page of a list has at most 8 MiB of documents.
const maxAnswer = 32 << 20

// Client asks one server.
type Client struct {
	// Server is the URL of the front door; Token, where there is one, the bearer token.
	Server, Token string
	// Agent names the program.
	Agent string
}

// Problem is an answer that says why a request was refused.
type Problem struct {
	Status int          `json:"status"`
	Title  string       `json:"title"`
	Detail string       `json:"detail"`
	Errors []errs.Field `json:"errors"`
}

// Error is one line: what was refused and, where that is known, what to do.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%s (%d)", p.Title, p.Status)
	if p.Detail != "" {
		text = fmt.Sprintf("%s (%d)", p.Detail, p.Status)
	}
	switch p.Status {
	case http.StatusUnauthorized:
		text += ": give a token with --token, --token-file, SYNCSETS_TOKEN or SYNCSETS_TOKEN_FILE"
	case http.StatusServiceUnavailable:
		text += ": try again in a moment"
	}
	return text
}

// Request is one request; ContentType is that of Body.
type Request struct {
	Method, Path string
	Query        url.Values
	ContentType  string
	Body         []byte
}

// Answer is one that is no problem. Warnings are those of its header.
type Answer struct {
	Status   int
	Body     []byte
	Warnings []string
}

// Do sends a request. It returns a *Problem when the server refuses it.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Answer{}, c.unreachable(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("the answer of %s ended early: %w", c.Server, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return Answer{}, c.problem(response, body)
	}
	return Answer{response.StatusCode, body, warnings(response.Header)}, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	base, err := url.Parse(c.Server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is no server: give a URL such as http://localhost:7070 with --server or SYNCSETS_SERVER", c.Server)
	}
	target := base.JoinPath(r.Path)
	target.RawQuery = r.Query.Encode()
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.Agent)
	if r.ContentType != "" {
		request.Header.Set("Content-Type", r.ContentType)
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return request, nil
}

// unreachable says in one line why there was no answer, without the URL, whose user may have a password in it.
func (c *Client) unreachable(err error) error {
	server := c.Server
	if base, parseErr := url.Parse(c.Server); parseErr == nil {
		server = base.Redacted()
	}
	cause := err
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		cause = wrapped.Err
	}
	var dial *net.OpError
	if errors.As(cause, &dial) {
		cause = dial.Err
	}
	return fmt.Errorf("%s does not answer: %w: is it running, and is --server or SYNCSETS_SERVER right?", server, cause)
}

func (c *Client) problem(response *http.Response, body []byte) error {
	p := Problem{Status: response.StatusCode, Title: http.StatusText(response.StatusCode)}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, &p) != nil {
		p.Detail = "an answer that is not of SyncSets: is --server or SYNCSETS_SERVER right?"
	}
	p.Status = response.StatusCode
	return &p
}

var warning = regexp.MustCompile(`^299 \S+ "(.*)"$`)

// warnings reads the Warning headers, RFC 7234 section 5.5.
func warnings(h http.Header) []string {
	var all []string
	for _, value := range h.Values("Warning") {
		if found := warning.FindStringSubmatch(value); found != nil {
			all = append(all, strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(found[1]))
		}
	}
	return all
}
