package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/syncsets/syncsets/cli/internal/client"
	"github.com/syncsets/syncsets/cli/internal/source"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/hive"
	"github.com/syncsets/syncsets/libs/manifest"
)

// maxImport is how much one import takes, in bytes, with room for the separators.
const maxImport = 3<<20 - 4<<10

// moveOptions say how Hive's documents are taken over.
type moveOptions struct{ suspended, dryRun bool }

// moving is what Hive's documents become: clusters, which are registered one by one, and all others, which the server converts.
type moving struct {
	clusters []source.Own
	warnings map[string][]string // of clusters, by path
	// documents are what is imported, in as few requests as it fits.
	batches [][]manifest.Document
}

// planMove sorts Hive's documents and returns the faults that can be told without the server.
func planMove(documents []manifest.Document) (moving, []errs.Field) {
	items, faults := hive.Convert(documents, hive.Options{Clusters: true})
	if len(faults) > 0 {
		return moving{}, faults
	}
	m := moving{warnings: map[string][]string{}}
	kept := map[string]bool{}
	for _, i := range items {
		kept[i.Path] = true
		if i.Cluster == nil {
			continue
		}
		text, err := json.Marshal(i.Cluster)
		if err != nil {
			return moving{}, []errs.Field{{Path: i.Path, Message: "cannot be encoded"}}
		}
		resource, _ := source.OfKind(v1.KindCluster)
		m.clusters = append(m.clusters, source.Own{
			Path: i.Path, Resource: resource, Namespace: i.Cluster.Namespace, Name: i.Cluster.Name, JSON: text,
		})
		m.warnings[i.Path] = i.Warnings
	}
	m.batch(documents, kept)
	return m, nil
}

// batch puts the documents that the server is to convert into requests: not those that have become clusters or their kubeconfigs, and not
// the same one twice.
func (m *moving) batch(documents []manifest.Document, kept map[string]bool) {
	size := 0
	for _, d := range documents {
		if d.Kind == hive.KindClusterDeployment || !kept[d.Path] {
			continue
		}
		if size += len(d.JSON) + 1; len(m.batches) == 0 || size > maxImport {
			m.batches, size = append(m.batches, nil), len(d.JSON)+1
		}
		last := len(m.batches) - 1
		m.batches[last] = append(m.batches[last], d)
	}
}

// move imports sets and secrets, then registers the clusters. Where one request is not enough, all are tried before the first is done.
func (a *app) move(ctx context.Context, c *client.Client, m moving, o moveOptions) error {
	if len(m.batches) > 1 && !o.dryRun {
		for _, batch := range m.batches {
			if _, err := a.send(ctx, c, batch, moveOptions{suspended: o.suspended, dryRun: true}); err != nil {
				return err
			}
		}
	}
	for _, batch := range m.batches {
		result, err := a.send(ctx, c, batch, o)
		if err != nil {
			return err
		}
		a.imported(result, o)
	}
	var failures []error
	for _, cluster := range m.clusters {
		a.warn(cluster.Path, m.warnings[cluster.Path])
		failures = append(failures, a.register(ctx, c, cluster, o))
	}
	return a.summary(failures)
}

// send imports documents with one request.
func (a *app) send(ctx context.Context, c *client.Client, batch []manifest.Document, o moveOptions) (v1.Import, error) {
	query := url.Values{}
	if o.suspended {
		query.Set("suspended", "true")
	}
	if o.dryRun {
		query.Set("dryRun", "true")
	}
	var body bytes.Buffer
	for _, d := range batch {
		body.Write(d.JSON)
		body.WriteByte('\n')
	}
	answer, err := c.Do(ctx, client.Request{
		Method: http.MethodPost, Path: "/v1/import", Query: query, ContentType: "application/json", Body: body.Bytes(),
	})
	var problem *client.Problem
	if errors.As(err, &problem) {
		return v1.Import{}, sourced(problem, batch)
	}
	if err != nil {
		return v1.Import{}, err
	}
	var result v1.Import
	if err := json.Unmarshal(answer.Body, &result); err != nil {
		return v1.Import{}, fmt.Errorf("the answer is not understood: %w", err)
	}
	return result, nil
}

var numbered = regexp.MustCompile(`^documents\[(\d+)\]`)

// sourced puts the places in the files that were read into the faults of a request.
func sourced(problem *client.Problem, batch []manifest.Document) error {
	f := &faulty{message: "nothing was imported: " + problem.Error()}
	for _, fault := range problem.Errors {
		if found := numbered.FindStringSubmatch(fault.Path); found != nil {
			if n, err := strconv.Atoi(found[1]); err == nil && n < len(batch) {
				fault.Path = batch[n].Path + fault.Path[len(found[0]):]
			}
		}
		f.faults = append(f.faults, fault)
	}
	return f
}

// imported prints what became of the documents.
func (a *app) imported(result v1.Import, o moveOptions) {
	for _, d := range result.Items {
		resource, _ := source.OfKind(d.Kind)
		label := resource.Label(d.Namespace, d.Name)
		a.warn(label, d.Warnings)
		a.done(label, d.Action+suffix(o))
	}
}

// register registers a cluster. The server checks no clusters without storing them, so a dry run only looks whether there is one.
func (a *app) register(ctx context.Context, c *client.Client, cluster source.Own, o moveOptions) error {
	if !o.dryRun {
		return a.put(ctx, c, cluster)
	}
	_, there, err := c.Get(ctx, cluster.Resource.Path(cluster.Namespace, cluster.Name))
	if err != nil {
		return err
	}
	action := v1.ImportCreated
	if there {
		action = v1.ImportConfigured
	}
	a.done(cluster.Resource.Label(cluster.Namespace, cluster.Name), action+suffix(o))
	return nil
}

func suffix(o moveOptions) string {
	if o.dryRun {
		return " (dry run)"
	}
	return ""
}
