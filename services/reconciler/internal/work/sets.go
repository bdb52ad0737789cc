package work

import (
	"encoding/json"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// Bounds of what is kept of decoded sets.
const (
	cachedSets  = 4096
	cachedBytes = 128 << 20
)

// decoded is one generation of a set, ready to be sent: it depends on nothing but the document and the installation.
type decoded struct {
	spec  v1.SetSpec // without its items
	set   *render.Set
	fault string
	size  int
}

type setKey struct {
	uid        string
	generation int64
}

// setCache keeps decoded sets, the most recently used ones.
type setCache struct {
	mu    sync.Mutex
	sets  *lru.Cache[setKey, *decoded]
	bytes int
}

func newSetCache() (*setCache, error) {
	c := &setCache{}
	var err error
	c.sets, err = lru.NewWithEvict(cachedSets, func(_ setKey, d *decoded) { c.bytes -= d.size })
	return c, err
}

func (c *setCache) get(k setKey) (*decoded, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sets.Get(k)
}

func (c *setCache) put(k setKey, d *decoded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sets.Remove(k)
	c.sets.Add(k, d)
	c.bytes += d.size
	for c.bytes > cachedBytes && c.sets.Len() > 1 {
		c.sets.RemoveOldest()
	}
}

// decodeSet reads a document.
func decodeSet(row SetRow, installation string) *decoded {
	d := &decoded{set: &render.Set{}, size: len(row.Document)}
	if err := json.Unmarshal(row.Document, &d.spec); err != nil {
		d.fault = decide.Truncate("failed to decode the set: " + err.Error())
		return d
	}
	d.set = render.Parse(d.spec, render.Marks{
		Owner: decide.Owner(row.Resource, row.Namespace, row.Name), OwnerUID: row.UID, Installation: installation,
	})
	d.size = d.set.Size()
	d.spec.Resources, d.spec.Patches, d.spec.SecretMappings = nil, nil, nil
	return d
}
