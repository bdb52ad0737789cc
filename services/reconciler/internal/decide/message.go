package decide

import (
	"fmt"
	"strings"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// MaxMessage is the length of a failure message in bytes.
const MaxMessage = 1024

// ItemFailure names an item and why it failed: "failed to apply resource 2 (ConfigMap default/foobar): ...".
func ItemFailure(s Step, why string) string {
	return Truncate(fmt.Sprintf("failed to apply resource %d (%s): %s", s.Item, s.Identity, why))
}

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
