package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// maxExpanded bounds a document after its aliases have been written out, in bytes: few bytes could else fill the memory.
const maxExpanded = 16 << 20

var errExpands = errors.New("its aliases make it larger than 16 MiB")

// chunk is the text of one YAML document and the line, from 1, that it begins at.
type chunk struct {
	text []byte
	line int
}

// chunks cuts a YAML stream at its separators, as kubectl does.
func chunks(text []byte) []chunk {
	var all []chunk
	current := chunk{line: 1}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if rest, found := bytes.CutPrefix(line, []byte("---")); found && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0]))) {
			all = append(all, current)
			current = chunk{text: append([]byte("   "), rest...), line: number}
			continue
		}
		current.text = append(current.text, line...)
	}
	return append(all, current)
}

// toJSON converts one YAML document, by the rules that kubectl follows; "null" is an empty one. JSON is taken as it is, for its numbers.
func toJSON(text []byte) (json.RawMessage, error) {
	trimmed := bytes.TrimSpace(text)
	if bytes.HasPrefix(trimmed, []byte("{")) && json.Valid(trimmed) {
		return trimmed, nil
	}
	if bytes.ContainsRune(text, '*') && bytes.ContainsRune(text, '&') {
		if err := checkAliases(text); err != nil {
			return nil, err
		}
	}
	return yaml.YAMLToJSONStrict(text)
}

// checkAliases returns an error when the document would become too large.
func checkAliases(text []byte) error {
	var document yamlnode.Node
	if err := yamlnode.Unmarshal(text, &document); err != nil {
		return err
	}
	m := measure{known: map[*yamlnode.Node]int{}}
	if m.size(&document) > maxExpanded {
		return errExpands
	}
	return nil
}

// measure adds up the sizes of nodes; what an alias stands for is measured once.
type measure struct{ known map[*yamlnode.Node]int }

func (m measure) size(n *yamlnode.Node) int {
	if n.Kind == yamlnode.AliasNode {
		n = n.Alias
	}
	if size, ok := m.known[n]; ok {
		return size
	}
	m.known[n] = maxExpanded + 1 // what contains itself has no end
	size := len(n.Value) + 8
	for _, child := range n.Content {
		if size += m.size(child); size > maxExpanded {
			break
		}
	}
	m.known[n] = size
	return size
}

var (
	yamlLine   = regexp.MustCompile(`line (\d+)`)
	yamlTwice  = regexp.MustCompile(`key .* already (set in map|defined)`)
	yamlNested = "exceeded max depth"
)

// describe says what is wrong with a document that begins at a line, without quoting any of it.
func describe(err error, first int) string {
	text := err.Error()
	where := ""
	if found := yamlLine.FindStringSubmatch(text); found != nil {
		n, _ := strconv.Atoi(found[1]) // digits
		where = fmt.Sprintf(" at line %d", first+n-1)
	}
	switch {
	case errors.Is(err, errExpands):
		return errExpands.Error()
	case yamlTwice.MatchString(text):
		return "has a key twice" + where
	case strings.Contains(text, yamlNested):
		return "is nested too deep" + where
	}
	return "is not valid YAML" + where
}
