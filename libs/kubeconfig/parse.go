package kubeconfig

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/syncsets/syncsets/libs/errs"
)

// mapping is a YAML mapping whose scalars are kept as text, whatever type they would have.
type mapping map[string]any

// file is a kubeconfig as far as it matters here.
type file struct {
	currentContext            string
	clusters, users, contexts map[string]mapping
}

// parse reads text. faults is what must be refused; fault is why the text is merely of no use.
func parse(text string) (f file, fault string, faults []errs.Field) {
	if len(text) > MaxSize {
		return f, "", []errs.Field{{Path: "", Message: fmt.Sprintf("is larger than %d bytes", MaxSize)}}
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&document); err != nil {
		return f, "it is not a kubeconfig: " + syntaxFault(err), nil
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return f, "", []errs.Field{{Path: "", Message: "holds more than one YAML document"}}
	}
	r := reader{}
	root, ok := r.value("", document.Content[0]).(mapping)
	if len(r.faults) > 0 || !ok {
		return f, "it is not a kubeconfig: it is no mapping of clusters, users and contexts", r.faults
	}
	f.currentContext, _ = root["current-context"].(string)
	f.clusters = r.named(root, "clusters", "cluster", dangerInCluster)
	f.users = r.named(root, "users", "user", dangerInUser)
	f.contexts = r.named(root, "contexts", "context", nil)
	return f, r.fault, r.faults
}

var yamlLine = regexp.MustCompile(`line \d+`)

// syntaxFault says where a text stops being YAML, without quoting any of it.
func syntaxFault(err error) string {
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	if line := yamlLine.FindString(err.Error()); line != "" {
		return "it is not YAML at " + line
	}
	return "it is not YAML"
}

// maxFaults bounds what is reported of one text.
const maxFaults = 100

// reader turns nodes into mappings and collects faults.
type reader struct {
	fault  string       // the first reason why the text is of no use
	faults []errs.Field // what must be refused
}

func (r *reader) refuse(path, message string) {
	if len(r.faults) == maxFaults {
		return
	}
	r.faults = append(r.faults, errs.Field{Path: path, Message: message})
}

// value converts a node: mapping, []any, or the text of a scalar (nil for null). Aliases, anchors and doubled keys are refused, so the
// result is never larger than the text and reads the same for every parser.
func (r *reader) value(path string, node *yaml.Node) any {
	if node.Anchor != "" || node.Kind == yaml.AliasNode {
		r.refuse(path, "YAML anchors and aliases are not allowed")
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		return r.mapping(path, node)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for i, item := range node.Content {
			list = append(list, r.value(cut(fmt.Sprintf("%s[%d]", path, i)), item))
		}
		return list
	}
	if node.Tag == "!!null" {
		return nil
	}
	return node.Value
}

func (r *reader) mapping(path string, node *yaml.Node) mapping {
	m := make(mapping, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		at := join(path, key.Value)
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Tag == "!!merge" {
			r.refuse(path, "keys must be plain text")
			continue
		}
		if _, twice := m[key.Value]; twice {
			r.refuse(at, "occurs twice")
		}
		m[key.Value] = r.value(at, node.Content[i+1])
	}
	return m
}

func join(path, key string) string {
	if path == "" {
		return cut(key)
	}
	return cut(path + "." + key)
}

// maxPath bounds a path in bytes: a long key above many values would be copied for each of them.
const maxPath = 256

func cut(path string) string {
	if len(path) > maxPath {
		return strings.ToValidUTF8(path[:maxPath], "") + "..."
	}
	return path
}

// named reads one of the three lists of named entries and shows every entry to danger.
func (r *reader) named(root mapping, list, entry string, danger func(r *reader, path string, m mapping)) map[string]mapping {
	items, ok := root[list].([]any)
	if !ok && root[list] != nil {
		r.useless("%s is not a list", list)
	}
	found := make(map[string]mapping, len(items))
	for i, item := range items {
		outer, _ := item.(mapping)
		inner, ok := outer[entry].(mapping)
		if !ok {
			if outer[entry] != nil || outer == nil {
				r.useless("%s[%d] holds no %s", list, i, entry)
			}
			inner = mapping{}
		}
		if danger != nil {
			danger(r, fmt.Sprintf("%s[%d].%s", list, i, entry), inner)
		}
		name, _ := outer["name"].(string)
		if _, twice := found[name]; twice {
			r.useless("two entries of %s have the same name", list)
		}
		found[name] = inner
	}
	return found
}

// useless remembers the first reason why the text cannot be used.
func (r *reader) useless(format string, args ...any) {
	if r.fault == "" {
		r.fault = "it is not a kubeconfig: " + fmt.Sprintf(format, args...)
	}
}

// The keys that are refused, lower case, with what to do instead.
var (
	clusterDangers = map[string]string{
		"certificate-authority": "file paths are not allowed: embed the certificate as certificate-authority-data",
		"proxy-url":             "a proxy is not allowed",
	}
	userDangers = map[string]string{
		"exec":               "running a program is not allowed: use a token or a client certificate",
		"auth-provider":      "auth providers are not allowed: use a token or a client certificate",
		"client-certificate": "file paths are not allowed: embed the certificate as client-certificate-data",
		"client-key":         "file paths are not allowed: embed the key as client-key-data",
		"tokenfile":          "token files are not allowed: put the token into token",
	}
)

func dangerInCluster(r *reader, path string, m mapping) {
	for key, value := range m {
		if message, ok := clusterDangers[strings.ToLower(key)]; ok && !empty(value) {
			r.refuse(join(path, key), message)
		}
	}
	if server, _ := m["server"].(string); server != "" {
		if message := serverFault(server); message != "" {
			r.refuse(join(path, "server"), message)
		}
	}
}

func dangerInUser(r *reader, path string, m mapping) {
	for key, value := range m {
		lower := strings.ToLower(key)
		message, ok := userDangers[lower]
		if lower == "as" || strings.HasPrefix(lower, "as-") || strings.HasPrefix(lower, "act-as") {
			message, ok = "acting as another user is not allowed", true
		}
		if ok && !empty(value) {
			r.refuse(join(path, key), message)
		}
	}
}

// empty reports whether a value has no effect in any reader of kubeconfigs. An empty exec block is not empty in this sense.
func empty(value any) bool {
	text, ok := value.(string)
	return value == nil || ok && text == ""
}

// serverFault says what is wrong with the URL of a server; the URL itself may hold a password and is not shown.
func serverFault(server string) string {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		return "must be an https URL"
	case u.User != nil:
		return "must not contain a user name or password"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must not contain a query or fragment"
	}
	return ""
}
