package syncset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/templating"
)

// checkTemplates notes the faults of all templates in a value. Keys are no templates.
func (o *object) checkTemplates(path string, value any) {
	if len(o.faults) >= errs.MaxFields {
		return // no more are shown
	}
	switch v := value.(type) {
	case string:
		o.checkTemplate(path, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			o.checkTemplates(below(path, key), v[key])
		}
	case []any:
		for i, element := range v {
			o.checkTemplates(fmt.Sprintf("%s[%d]", path, i), element)
		}
	}
}

// checkTemplate notes the fault of a text that is a template.
func (o *object) checkTemplate(path, text string) {
	if !o.open(text) {
		return
	}
	if _, err := templating.Parse(text); err != nil {
		o.fault(path, "is not a valid template: %s", err)
	}
}

// below is the path of a member: a.b, or a[b.c/d] where the key is no plain word.
func below(path, key string) string {
	if strings.ContainsAny(key, "./[] ") || path == "metadata.labels" || path == "metadata.annotations" {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
