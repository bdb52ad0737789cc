package decide

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// MaxMessage is the length of a failure message in bytes.
const MaxMessage = 1024

// ItemFailure names an item and why it failed: "failed to apply resource 2 (ConfigMap default/foobar): ...", "failed to apply
// patch 0: ...".
func ItemFailure(s Step, why string) string {
	if s.Type == render.Patch {
		return Truncate(fmt.Sprintf("failed to apply patch %d: %s", s.Item, why))
	}
	return Truncate(fmt.Sprintf("failed to apply %s %d (%s): %s", typeName(s.Type), s.Item, s.Identity, why))
}

// typeName returns how a message calls an item: a resource unless it says otherwise.
func typeName(t render.Type) string { return string(cmp.Or(t, render.Resource)) }

// DeleteFailure names an object and why it could not be deleted: "failed to delete v1, Kind=ConfigMap default/foobar: ...".
func DeleteFailure(s Step, why string) string {
	key := strings.TrimPrefix(s.Namespace+"/"+s.Name, "/")
	return Truncate(fmt.Sprintf("failed to delete %s, Kind=%s %s: %s", inventory.APIVersion(s.Group, s.Version), s.Kind, key, why))
}

// Truncate cuts a message at MaxMessage bytes, between characters.
func Truncate(message string) string {
	if len(message) <= MaxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:MaxMessage-3], "") + "..."
}
