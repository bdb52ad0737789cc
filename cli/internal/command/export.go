package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/syncsets/syncsets/cli/internal/client"
	"github.com/syncsets/syncsets/cli/internal/source"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/hive"
)

// The formats of an export.
const (
	formatOwn  = "syncsets"
	formatHive = "hive"
)

// exportOptions say what is exported, and how.
type exportOptions struct {
	format, namespace string
	resource          *source.Resource // nil: all
	name              string           // "": all
}

func newExport(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use: "export [TYPE[/NAME]]", Short: "Print documents as files that apply takes; with --format hive, as Hive's",
		Long: "Print documents as YAML that apply takes, without kubeconfigs and secret values, which are never returned.\n" +
			"TYPE is cluster, secret, syncset or selectorsyncset; without it, all are printed.",
		Example: "  syncsetctl export syncset/motd -n retail\n  syncsetctl export --format hive > hive.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(args); err != nil {
				return err
			}
			return a.export(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.format, "format", formatOwn, "syncsets or hive")
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "", "only this namespace")
	return c
}

// parse reads the argument.
func (o *exportOptions) parse(args []string) error {
	if o.format != formatOwn && o.format != formatHive {
		return fmt.Errorf("--format %s is not known: use syncsets or hive", o.format)
	}
	if len(args) == 0 {
		return nil
	}
	word, name, _ := strings.Cut(args[0], "/")
	at := slices.IndexFunc(source.Resources, func(r source.Resource) bool { return word == r.Word || word == r.Name })
	if at < 0 {
		return fmt.Errorf("%s is no type: use cluster, secret, syncset or selectorsyncset", word)
	}
	o.resource, o.name = &source.Resources[at], name
	if namespace, rest, found := strings.Cut(name, "/"); found && o.namespace == "" {
		o.namespace, o.name = namespace, rest
	}
	if o.name != "" && o.resource.Namespaced && o.namespace == "" {
		return fmt.Errorf("%s needs a namespace: give it with -n", args[0])
	}
	return nil
}

func (a *app) export(ctx context.Context, o exportOptions) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	for _, resource := range source.Resources {
		if o.resource != nil && *o.resource != resource || o.resource == nil && o.namespace != "" && !resource.Namespaced {
			continue
		}
		documents, err := fetch(ctx, c, resource, o)
		if err != nil {
			return err
		}
		for _, d := range documents {
			if err := a.print(resource, d, o.format); err != nil {
				return err
			}
		}
	}
	return nil
}

func fetch(ctx context.Context, c *client.Client, resource source.Resource, o exportOptions) ([]json.RawMessage, error) {
	if o.name == "" {
		query := url.Values{}
		if o.namespace != "" {
			query.Set("namespace", o.namespace)
		}
		return c.List(ctx, "/v1/"+resource.Name, query)
	}
	document, there, err := c.Get(ctx, resource.Path(o.namespace, o.name))
	if err == nil && !there {
		err = fmt.Errorf("there is no %s", resource.Label(o.namespace, o.name))
	}
	return []json.RawMessage{document}, err
}

// print writes one document in the format, and warns of what the format cannot say.
func (a *app) print(resource source.Resource, document json.RawMessage, format string) error {
	text, warnings, err := render(resource, document, format)
	if err != nil {
		return err
	}
	var meta v1.Metadata
	if err := json.Unmarshal(document, &meta); err != nil {
		return fmt.Errorf("the answer is not understood: %w", err)
	}
	a.warn(resource.Label(meta.Namespace, meta.Name), warnings)
	if text == nil {
		return nil
	}
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		return fmt.Errorf("write %s as YAML: %w", resource.Label(meta.Namespace, meta.Name), err)
	}
	_, err = fmt.Fprintf(a.env.Out, "---\n%s", out)
	return err
}

// render returns a document as JSON of the format, nil where the format has no such document.
func render(resource source.Resource, document json.RawMessage, format string) ([]byte, []string, error) {
	if format == formatOwn {
		text, err := clean(document)
		return text, nil, err
	}
	switch resource.Kind {
	case v1.KindSyncSet:
		return inHive(document, hive.FromSyncSet)
	case v1.KindSelectorSyncSet:
		return inHive(document, hive.FromSelectorSyncSet)
	case v1.KindSecret:
		return inHive(document, hive.FromSecret)
	}
	return nil, []string{"clusters have no counterpart in Hive that could be written from what is known of them: left out"}, nil
}

func inHive[T any](document json.RawMessage, convert func(T) ([]byte, []string)) ([]byte, []string, error) {
	var d T
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, nil, fmt.Errorf("the answer is not understood: %w", err)
	}
	text, warnings := convert(d)
	return text, warnings, nil
}

// serverFields are what the server says of a document.
var serverFields = []string{
	"uid", "generation", "resourceVersion", "createdAt", "updatedAt", "updatedBy", "deletionRequestedAt", "status",
	"kubeconfigVersion", "kubeconfigDigest", "credentialExpiresAt", "dataVersion", "keys",
}

// clean returns a document as its user would have written it.
func clean(document json.RawMessage) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, fmt.Errorf("the answer is not understood: %w", err)
	}
	for _, name := range serverFields {
		delete(fields, name)
	}
	return json.Marshal(fields)
}
