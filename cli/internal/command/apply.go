package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/syncsets/syncsets/cli/internal/client"
	"github.com/syncsets/syncsets/cli/internal/source"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/hive"
	"github.com/syncsets/syncsets/libs/manifest"
)

func newApply(a *app) *cobra.Command {
	var files []string
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Create or replace what files describe: documents of syncsets.dev/v1 and of Hive",
		Example: "  syncsetctl apply -f sets.yaml -f folder/\n  kubectl get selectorsyncsets -o yaml | syncsetctl apply -f -",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.apply(c.Context(), files) },
	}
	filesFlag(c, &files)
	return c
}

// filesFlag adds -f, which is required.
func filesFlag(c *cobra.Command, files *[]string) {
	c.Flags().StringArrayVarP(files, "filename", "f", nil, "file, folder (its .yaml, .yml and .json) or - for standard input; may be repeated")
	_ = c.MarkFlagRequired("filename") // it is there
}

// apply reads everything before it sends anything.
func (a *app) apply(ctx context.Context, files []string) error {
	documents, faults, err := source.Read(files, a.env.In)
	if err != nil {
		return err
	}
	own, rest, more := separate(documents)
	moved, evenMore := planMove(rest)
	if err := invalid(append(append(faults, more...), evenMore...)); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var failures []error
	for _, d := range own {
		failures = append(failures, a.put(ctx, c, d))
	}
	failures = append(failures, a.move(ctx, c, moved, moveOptions{}))
	return a.summary(failures)
}

// separate tells our own documents from those of Hive, which a converter judges.
func separate(documents []manifest.Document) (own []source.Own, rest []manifest.Document, faults []errs.Field) {
	for _, d := range documents {
		switch {
		case d.APIVersion == v1.APIVersion:
			o, more := source.ParseOwn(d)
			own, faults = append(own, o), append(faults, more...)
		case hive.Takes(d.APIVersion, d.Kind):
			rest = append(rest, d)
		default:
			faults = append(faults, errs.Field{
				Path: d.Path, Message: fmt.Sprintf("%q of %q is not applied: give apiVersion %s, or a SyncSet, SelectorSyncSet, ClusterDeployment or "+
					"Secret of Hive", d.Kind, d.APIVersion, v1.APIVersion),
			})
		}
	}
	return own, rest, faults
}

// put creates or replaces one document and prints what that did.
func (a *app) put(ctx context.Context, c *client.Client, d source.Own) error {
	path := d.Resource.Path(d.Namespace, d.Name)
	before, there, err := c.Get(ctx, path)
	if err != nil {
		return refused(d.Path, err)
	}
	answer, err := c.Do(ctx, client.Request{Method: http.MethodPut, Path: path, ContentType: "application/json", Body: d.JSON})
	if err != nil {
		return refused(d.Path, err)
	}
	a.warn(d.Path, answer.Warnings)
	action := v1.ImportConfigured
	switch {
	case !there || answer.Status == http.StatusCreated:
		action = v1.ImportCreated
	case same(before, answer.Body):
		action = v1.ImportUnchanged
	}
	a.done(d.Resource.Label(d.Namespace, d.Name), action)
	return nil
}

// same reports whether two versions of a document want the same.
func same(before, after json.RawMessage) bool {
	var a, b struct {
		v1.Metadata
		KubeconfigVersion int64 `json:"kubeconfigVersion"`
		DataVersion       int64 `json:"dataVersion"`
	}
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return false
	}
	return a.UID == b.UID && a.Generation == b.Generation && a.KubeconfigVersion == b.KubeconfigVersion && a.DataVersion == b.DataVersion &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

// refused says which document a request was about, and puts that before the paths of the faults.
func refused(path string, err error) error {
	var problem *client.Problem
	if !errors.As(err, &problem) {
		return err
	}
	f := &faulty{message: fmt.Sprintf("%s: %v", path, problem)}
	for _, fault := range problem.Errors {
		f.faults = append(f.faults, errs.Field{Path: path + "." + fault.Path, Message: fault.Message})
	}
	return f
}

// done prints what became of a document.
func (a *app) done(label, action string) { fmt.Fprintln(a.env.Out, label, action) }

func (a *app) warn(path string, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.env.Err, "warning: %s: %s\n", path, w)
	}
}

// summary prints all failures but the last, which it returns.
func (a *app) summary(failures []error) error {
	var last error
	for _, err := range failures {
		if err == nil {
			continue
		}
		if last != nil {
			printError(a.env.Err, last)
		}
		last = err
	}
	return last
}
