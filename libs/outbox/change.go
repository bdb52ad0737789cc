package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/propagation"

	"github.com/syncsets/syncsets/libs/postgres"
)

// The operations of a change.
const (
	Created = "created"
	Updated = "updated"
	Deleted = "deleted"
)

// Change is one write of a document, as its transaction leaves it in the outbox.
type Change struct {
	Resource        string // plural name, such as "clusters"
	Operation       string // Created, Updated or Deleted
	UID             string
	Namespace       string // empty for resources without one
	Name            string
	Generation      int64
	ResourceVersion int64
	Document        any               // marshalled to JSON; must hold no secret value
	PreviousLabels  map[string]string // the labels before an update or delete
	Options         map[string]string // options of the write that whoever plans its effect must know
	Actor           string            // the principal who wrote
}

const appendSQL = `INSERT INTO $schema.outbox (resource, operation, uid, namespace, name, generation, resource_version, document, size,
	previous_labels, options, actor, traceparent, tracestate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

// Append leaves c in the outbox of schema, with the trace context of ctx. Call it in the transaction that writes the document and
// after that write: the order of two changes of one object is the order in which they took its row lock.
func Append(ctx context.Context, tx pgx.Tx, schema string, c Change) error {
	document, err := json.Marshal(c.Document)
	if err != nil {
		return fmt.Errorf("marshal the %s event of %s %s/%s: %w", c.Operation, c.Resource, c.Namespace, c.Name, err)
	}
	trace := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, trace)
	_, err = tx.Exec(ctx, in(schema, appendSQL), c.Resource, c.Operation, c.UID, c.Namespace, c.Name, c.Generation, c.ResourceVersion,
		document, len(document), c.PreviousLabels, c.Options, c.Actor, trace["traceparent"], trace["tracestate"])
	return postgres.Wrap(err, "append the %s event of %s %s/%s", c.Operation, c.Resource, c.Namespace, c.Name)
}

// in puts the schema's name into a statement.
func in(schema, sql string) string {
	return strings.ReplaceAll(sql, "$schema", pgx.Identifier{schema}.Sanitize())
}
