// Package migrations embeds the goose migrations of the three schemas. Each service applies its own folder.
package migrations

import "embed"

// FS holds one folder per schema: clusters, syncsets, reconciler.
//
//go:embed clusters/*.sql syncsets/*.sql reconciler/*.sql
var FS embed.FS
