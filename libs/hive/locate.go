package hive

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var indexed = regexp.MustCompile(`^(resources|secretMappings)\[(\d+)\](.*)$`)

// Locate turns a path in the item's document into one in the input: "resources[0].kind" into "documents[2].spec.resources[3].kind".
func (i *Item) Locate(path string) string {
	if found := indexed.FindStringSubmatch(path); found != nil {
		n, _ := strconv.Atoi(found[2]) // digits
		return i.Path + "." + i.element(found[1], n, found[3])
	}
	field, rest := path, ""
	if at := strings.IndexAny(path, ".["); at >= 0 {
		field, rest = path[:at], path[at:]
	}
	switch field {
	case "name", "namespace", "labels", "annotations":
		if i.made() {
			return i.Path
		}
		return i.Path + ".metadata." + path
	case "clusterRefs":
		field = "clusterDeploymentRefs"
	case "clusterSelector":
		field = "clusterDeploymentSelector"
	case "", "request", "body":
		return i.Path
	}
	if _, isSet := i.Spec(); isSet {
		field = "spec." + field
	}
	return i.Path + "." + field + rest
}

// made reports whether the item is a secret that the input has as a resource of a set: it was given its name.
func (i *Item) made() bool { return strings.Contains(i.Path, ".spec.resources[") }

// element is the place of one entry of resources or secretMappings.
func (i *Item) element(list string, n int, rest string) string {
	switch {
	case list == "resources" && n < len(i.resources):
		return fmt.Sprintf("spec.resources[%d]%s", i.resources[n], rest)
	case list == "secretMappings" && n < len(i.mappings):
		return fmt.Sprintf("spec.secretMappings[%d]%s", i.mappings[n], rest)
	case list == "secretMappings" && n-len(i.mappings) < len(i.moved):
		at := fmt.Sprintf("spec.resources[%d]", i.moved[n-len(i.mappings)])
		if target, found := strings.CutPrefix(rest, ".targetRef"); found {
			return at + ".metadata" + target
		}
		return at
	}
	return fmt.Sprintf("spec.%s[%d]%s", list, n, rest)
}
