// Package demo shows the system at work on a real target: a cluster is registered, a set created, changed and shortened, and each
// step is timed from the HTTP answer to the object on the target.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/syncsets/syncsets/libs/api/v1"

	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
)

// limit is how long one change may take to reach the target before the demo fails.
const limit = 60 * time.Second

// Options say what to show and where.
type Options struct {
	URL        string // of the front door
	Kubeconfig string // of the target, all data embedded
	About      string // what the target is, for the reader
	// Installation is the id of this system, which its objects on a target carry.
	Installation string
	Examples     fs.FS // cluster.json and selectorsyncset.json
	Out          *screen.Screen
}

// demo is one run.
type demo struct {
	Options
	api    client
	target kubernetes.Interface
	set    v1.SelectorSyncSet
}

// Run runs every step. It returns an error that says which step did not work.
func Run(ctx context.Context, o Options) error {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(o.Kubeconfig))
	if err != nil {
		return fmt.Errorf("the target's kubeconfig: %w", err)
	}
	target, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("the target's kubeconfig: %w", err)
	}
	version, err := target.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("the target at %s does not answer: %w", config.Host, err)
	}
	d := &demo{Options: o, api: client{url: o.URL}, target: target}
	o.Out.Title("\nDemo on Kubernetes %s at %s", version.GitVersion, config.Host)
	o.Out.Print("  %s", o.About)
	for i, step := range []func(context.Context) error{d.register, d.create, d.change, d.shorten} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("step %d of the demo: %w", i+1, err)
		}
	}
	o.Out.Print("\n%s", o.Out.Good("All 4 steps worked."))
	return nil
}

// register stores the target as demo/target. What an earlier demo left is taken away first.
func (d *demo) register(ctx context.Context) error {
	if err := d.forget(ctx); err != nil {
		return err
	}
	var cluster v1.Cluster
	if err := d.read("cluster.json", &cluster); err != nil {
		return err
	}
	cluster.Kubeconfig = &d.Kubeconfig
	answer, err := d.api.send(ctx, http.MethodPost, "/v1/clusters", cluster, http.StatusCreated)
	if err != nil {
		return err
	}
	d.Out.Title("\n1  POST /v1/clusters: %s with labels %v (%d)", cluster.Key(), cluster.Labels, answer.status)
	took, err := d.waitReachable(ctx, cluster.Key(), answer.at)
	if err != nil {
		return err
	}
	d.Out.Print("   reached by the reconciler        %8s after the answer", millis(took))
	return nil
}

// create stores the example set and waits for its objects.
func (d *demo) create(ctx context.Context) error {
	if err := d.read("selectorsyncset.json", &d.set); err != nil {
		return err
	}
	objects, err := configMaps(d.set)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("2  POST /v1/selectorsyncsets: %s, %d objects for clusters with %v",
		d.set.Name, len(objects), d.set.ClusterSelector.MatchLabels)
	return d.write(ctx, http.MethodPost, "/v1/selectorsyncsets", title, http.StatusCreated, present(objects...))
}

// change edits the first object of the set.
func (d *demo) change(ctx context.Context) error {
	objects, err := configMaps(d.set)
	if err != nil {
		return err
	}
	first := objects[0]
	first.Data["message"] = "Changed at " + time.Now().Format(time.TimeOnly)
	if d.set.Resources[0], err = json.Marshal(first); err != nil {
		return err
	}
	title := fmt.Sprintf("3  PUT /v1/selectorsyncsets/%s: message is now %q", d.set.Name, first.Data["message"])
	return d.write(ctx, http.MethodPut, "/v1/selectorsyncsets/"+d.set.Name, title, http.StatusOK, present(first))
}

// shorten drops the last object of the set.
func (d *demo) shorten(ctx context.Context) error {
	objects, err := configMaps(d.set)
	if err != nil {
		return err
	}
	last := len(d.set.Resources) - 1
	dropped := objects[last]
	d.set.Resources = d.set.Resources[:last]
	title := fmt.Sprintf("4  PUT /v1/selectorsyncsets/%s: %s is no longer in the set", d.set.Name, dropped.Metadata.Name)
	return d.write(ctx, http.MethodPut, "/v1/selectorsyncsets/"+d.set.Name, title, http.StatusOK, absent(dropped))
}

// write sends the set and prints for each expectation when the target met it, counted from the answer.
func (d *demo) write(ctx context.Context, method, path, title string, status int, expected []expectation) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	watches, err := d.watch(ctx, expected)
	if err != nil {
		return err
	}
	answer, err := d.api.send(ctx, method, path, d.set, status)
	if err != nil {
		return err
	}
	d.Out.Title("\n%s (%d)", title, answer.status)
	for i, e := range expected {
		met, err := watches[i].wait(ctx)
		if err != nil {
			return fmt.Errorf("%s: not %s on the target within %s of the answer; %s", e.name(), e.what(), limit, d.explain())
		}
		d.Out.Print("   %-32s %8s after the answer: %s", e.name(), millis(max(0, met.Sub(answer.at))), e.what())
	}
	return nil
}

// forget deletes the cluster and the set of an earlier demo on kept data.
func (d *demo) forget(ctx context.Context) error {
	for _, path := range []string{"/v1/clusters/demo/target", "/v1/selectorsyncsets/greeting"} {
		if _, err := d.api.send(ctx, http.MethodDelete, path, nil, http.StatusNoContent, http.StatusNotFound); err != nil {
			return err
		}
	}
	return d.deleteLeftovers(ctx)
}

func (d *demo) read(file string, into any) error {
	b, err := fs.ReadFile(d.Examples, file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("examples/%s: %w", file, err)
	}
	return nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
