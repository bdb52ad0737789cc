package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/syncsets/syncsets/cli/internal/source"
)

func newImport(a *app) *cobra.Command {
	var files []string
	var o moveOptions
	c := &cobra.Command{
		Use: "import -f FILE", Short: "Take over Hive's SyncSets, SelectorSyncSets, Secrets and ClusterDeployments with their kubeconfigs",
		Example: "  syncsetctl import -f hive.yaml --dry-run\n  syncsetctl import -f hive.yaml --suspended",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.importFiles(c.Context(), files, o) },
	}
	filesFlag(c, &files)
	c.Flags().BoolVar(&o.suspended, "suspended", false, "suspend the sets: nothing is written to clusters until they are imported without it")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "check everything and say what would be done; store nothing")
	return c
}

// importFiles reads everything before it sends anything.
func (a *app) importFiles(ctx context.Context, files []string, o moveOptions) error {
	documents, faults, err := source.Read(files, a.env.In)
	if err != nil {
		return err
	}
	moved, more := planMove(documents)
	if err := invalid(append(faults, more...)); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.move(ctx, c, moved, o)
}
