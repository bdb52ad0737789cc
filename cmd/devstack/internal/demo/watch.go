package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// configMap is an object of the example set, which holds ConfigMaps only.
type configMap struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
	Data map[string]string `json:"data"`
}

func configMaps(set v1.SelectorSyncSet) ([]configMap, error) {
	var all []configMap
	for i, raw := range set.Resources {
		var c configMap
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("resource %d: %w", i, err)
		}
		if c.Kind != "ConfigMap" {
			return nil, fmt.Errorf("resource %d is a %s; the demo's set holds ConfigMaps only", i, c.Kind)
		}
		all = append(all, c)
	}
	return all, nil
}

// expectation is what an object should be on the target.
type expectation struct {
	object configMap
	gone   bool
}

func present(objects ...configMap) []expectation {
	var all []expectation
	for _, o := range objects {
		all = append(all, expectation{object: o})
	}
	return all
}

func absent(object configMap) []expectation { return []expectation{{object: object, gone: true}} }

func (e expectation) name() string { return e.object.Metadata.Namespace + "/" + e.object.Metadata.Name }

func (e expectation) what() string {
	if e.gone {
		return "gone"
	}
	return fmt.Sprintf("there with %v", e.object.Data)
}

// met reports whether an event of the target's shows it.
func (e expectation) met(event watch.Event) bool {
	if e.gone {
		return event.Type == watch.Deleted
	}
	found, ok := event.Object.(*corev1.ConfigMap)
	return ok && event.Type != watch.Deleted && maps.Equal(found.Data, e.object.Data)
}

// watching waits for one expectation.
type watching struct {
	met  chan time.Time
	fail chan error
}

// watch starts looking at the target before anything is written, so that no change is missed.
func (d *demo) watch(ctx context.Context, expected []expectation) ([]watching, error) {
	var all []watching
	for _, e := range expected {
		w, err := d.target.CoreV1().ConfigMaps(e.object.Metadata.Namespace).Watch(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", e.object.Metadata.Name).String(),
		})
		if err != nil {
			return nil, fmt.Errorf("watch %s on the target: %w", e.name(), err)
		}
		one := watching{met: make(chan time.Time, 1), fail: make(chan error, 1)}
		go one.follow(w, e)
		all = append(all, one)
	}
	return all, nil
}

func (w watching) follow(events watch.Interface, e expectation) {
	defer events.Stop()
	for event := range events.ResultChan() {
		if e.met(event) {
			w.met <- time.Now()
			return
		}
	}
	w.fail <- errors.New("the watch on the target ended")
}

// wait returns when the expectation was met.
func (w watching) wait(ctx context.Context) (time.Time, error) {
	select {
	case at := <-w.met:
		return at, nil
	case err := <-w.fail:
		return time.Time{}, err
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}
