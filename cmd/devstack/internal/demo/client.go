package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// client talks to the front door.
type client struct{ url string }

// answer is an HTTP answer and when it had arrived.
type answer struct {
	status int
	body   []byte
	at     time.Time
}

// send sends a document and returns the answer; a status that is not among want is an error with the answer's text.
func (c client) send(ctx context.Context, method, path string, document any, want ...int) (answer, error) {
	var body io.Reader
	if document != nil {
		b, err := json.Marshal(document)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return answer{}, err
	}
	if document != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, body: b, at: time.Now()}
	if !slices.Contains(want, a.status) {
		return a, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(b))
	}
	return a, nil
}

// waitReachable waits until the reconciler has reached the cluster and returns how long after since that was.
func (d *demo) waitReachable(ctx context.Context, key string, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := d.api.send(ctx, http.MethodGet, "/v1/clustersyncs/"+key, nil, http.StatusOK, http.StatusNotFound)
		if err != nil {
			return 0, err
		}
		state := reachable(a.body)
		switch {
		case state.Status == "True":
			return a.at.Sub(since), nil
		case state.Reason == v1.ReasonDuplicateTarget:
			return 0, fmt.Errorf("the target is registered under another name already (%s); unregister it there or choose another KUBECONFIG",
				state.Message)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("the reconciler has not reached the target within %s: %s: %s", limit, state.Reason, state.Message)
		}
	}
}

// reachable returns the condition of that type, the zero one while there is none.
func reachable(body []byte) v1.Condition {
	var document v1.ClusterSync
	if json.Unmarshal(body, &document) != nil {
		return v1.Condition{}
	}
	for _, c := range document.Status.Conditions {
		if c.Type == v1.ConditionReachable {
			return c
		}
	}
	return v1.Condition{}
}

// explain says what the system itself knows about a change that did not arrive.
func (d *demo) explain() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := d.api.send(ctx, http.MethodGet, "/v1/clustersyncs/demo/target", nil, http.StatusOK)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(a.body))
}
