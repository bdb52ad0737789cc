// Package patch reads the patches of sets: YAML or JSON text of one of Kubernetes' three patch types. Whoever checks a set and whoever
// sends its patches read them in the same way.
package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// Decode returns a patch as JSON, as it is sent. Numbers of JSON text stay as written. Its error says what is wrong with the text, without
// quoting its values: no syntax, a key that is there twice, or not what the patch type demands.
func Decode(text, patchType string) ([]byte, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("is empty")
	}
	body, err := toJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	if patchType == v1.PatchJSON {
		return body, checkOperations(body)
	}
	if body[0] != '{' {
		return nil, fmt.Errorf("a %s patch must be an object", patchType)
	}
	return body, nil
}

// toJSON returns text, JSON or YAML, as compact JSON.
func toJSON(text []byte) ([]byte, error) {
	trimmed := bytes.TrimSpace(text)
	if !json.Valid(trimmed) {
		body, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, fmt.Errorf("is neither JSON nor YAML: %s", terse(err))
		}
		if err := oneDocument(text); err != nil {
			return nil, err
		}
		return body, nil
	}
	var value any
	faults, err := kjson.UnmarshalStrict(trimmed, &value)
	if err = errors.Join(append(faults, err)...); err != nil {
		return nil, errors.New(terse(err))
	}
	var body bytes.Buffer
	err = json.Compact(&body, trimmed)
	return body.Bytes(), err
}

// oneDocument refuses YAML of which only the beginning would be read.
func oneDocument(text []byte) error {
	documents := 0
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("---")) && len(bytes.TrimSpace(line)) == len("---") && documents > 0 {
			return errors.New("has more than one YAML document")
		}
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			documents++
		}
	}
	return nil
}

// terse is the first line of an error: some list every fault.
func terse(err error) string {
	message := strings.NewReplacer("error converting YAML to JSON: ", "", "yaml: unmarshal errors:\n  ", "", "yaml: ", "").Replace(err.Error())
	first, _, _ := strings.Cut(message, "\n")
	if strings.Contains(first, "invalid map key") {
		return "a key is no text (a template needs enablePatchTemplates)"
	}
	return first[:min(len(first), maxMessage)]
}

// maxMessage bounds what is said of a text, in bytes.
const maxMessage = 256

// operation is one of RFC 6902.
type operation struct {
	Op    string          `json:"op"`
	Path  *string         `json:"path"`
	From  *string         `json:"from"`
	Value json.RawMessage `json:"value"`
}

var operations = []string{"add", "remove", "replace", "move", "copy", "test"}

func checkOperations(body []byte) error {
	var list []operation
	if body[0] != '[' {
		return errors.New("a json patch must be a list of operations of RFC 6902")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&list); err != nil {
		return errors.New("a json patch must be a list of operations of RFC 6902: objects with the texts op, path and from")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has something after the list")
	}
	if len(list) == 0 {
		return errors.New("has no operations")
	}
	for n, o := range list {
		if err := o.check(); err != nil {
			return fmt.Errorf("operation %d: %w", n, err)
		}
	}
	return nil
}

func (o operation) check() error {
	if !slices.Contains(operations, o.Op) {
		return fmt.Errorf("op must be one of %s", strings.Join(operations, ", "))
	}
	if err := checkPointer("path", o.Path); err != nil {
		return err
	}
	switch o.Op {
	case "move", "copy":
		return checkPointer("from", o.From)
	case "add", "replace", "test":
		if o.Value == nil {
			return fmt.Errorf("value is required for %s", o.Op)
		}
	}
	return nil
}

// checkPointer checks a JSON pointer of RFC 6901.
func checkPointer(field string, pointer *string) error {
	if pointer == nil {
		return fmt.Errorf("%s is required", field)
	}
	p := *pointer
	if p != "" && p[0] != '/' {
		return fmt.Errorf(`%s must be empty or begin with /`, field)
	}
	for at := strings.IndexByte(p, '~'); at >= 0; {
		if at+1 == len(p) || p[at+1] != '0' && p[at+1] != '1' {
			return fmt.Errorf(`%s may hold ~ only as ~0 and ~1`, field)
		}
		p = p[at+1:]
		at = strings.IndexByte(p, '~')
	}
	return nil
}
