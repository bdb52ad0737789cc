package kube

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// The names that our fields have on a target: those of the objects of sets, and those of their patches.
const (
	fieldManager = "syncsets"
	patchManager = "syncsets-patch"
)

// Conn is the connection to one target with one credential. It is safe for concurrent use.
type Conn struct {
	version      int64
	installation string
	userAgent    string
	base         *url.URL
	transport    http.RoundTripper
	slots, only  chan struct{} // requests under way; over HTTP/1
	identity     identity

	mu    sync.Mutex
	kinds map[work.Kind]work.Mapping
}

func (c *Conn) close() { utilnet.CloseIdleConnectionsFor(c.transport) }

// path returns where an object is reached; with an empty name, its collection.
func path(id inventory.Identity, version, resource string) string {
	p := "/apis/" + id.Group + "/" + version
	if id.Group == "" {
		p = "/api/" + version
	}
	if id.Namespace != "" {
		p += "/namespaces/" + id.Namespace
	}
	p += "/" + resource
	if id.Name != "" {
		p += "/" + id.Name
	}
	return p
}

func pathOf(s decide.Step) string { return path(s.Identity, s.Version, s.Resource) }

var (
	writeQuery = url.Values{"fieldManager": {fieldManager}}
	applyQuery = url.Values{"fieldManager": {fieldManager}, "force": {"true"}}
)

// patch sends a patch and decodes what became of the object.
func (c *Conn) patch(ctx context.Context, at string, t types.PatchType, body []byte, into *object) (status int, err error) {
	r := request{method: http.MethodPatch, path: at, query: writeQuery, accept: into.accept(), contentType: string(t), body: body}
	if t == types.ApplyPatchType {
		r.query = applyQuery
	}
	return c.send(ctx, r, into)
}
