package selector

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// SQL returns a condition over column, a text[] with the elements of Index, that means what Matches means, and its arguments;
// placeholders count from firstArg. Equality, in and exists are containment or overlap, which a GIN index on the column serves; the
// other terms are filters on top. A selector without terms is "true". column is written into the text as it is: it must be the
// program's own, never a caller's.
func (s Selector) SQL(column string, firstArg int) (where string, args []any) {
	c := condition{column: column, next: firstArg}
	if s.inner != nil {
		terms, selectable := s.inner.Requirements()
		if !selectable {
			return "false", nil
		}
		for _, term := range terms {
			c.add(term)
		}
	}
	return c.text()
}

// condition collects the parts of a WHERE clause. Elements that must all be there go into one containment.
type condition struct {
	column   string
	next     int
	required []string
	overlaps [][]string
	excluded []string
	numbers  []labels.Requirement
}

// add sorts one term into the parts.
func (c *condition) add(term labels.Requirement) {
	switch term.Operator() {
	case selection.Exists:
		c.required = append(c.required, term.Key())
	case selection.Equals, selection.DoubleEquals, selection.In:
		if elements := pairs(term); len(elements) == 1 {
			c.required = append(c.required, elements...)
		} else {
			c.overlaps = append(c.overlaps, elements)
		}
	case selection.DoesNotExist:
		c.excluded = append(c.excluded, term.Key())
	case selection.NotEquals, selection.NotIn:
		c.excluded = append(c.excluded, pairs(term)...)
	case selection.GreaterThan, selection.LessThan:
		c.required = append(c.required, term.Key())
		c.numbers = append(c.numbers, term)
	}
}

// text writes the parts, the ones an index serves first.
func (c *condition) text() (string, []any) {
	var where strings.Builder
	args := []any{}
	and := func(format string, arg []string) {
		if where.Len() > 0 {
			where.WriteString(" AND ")
		}
		fmt.Fprintf(&where, format, c.column, c.next)
		args = append(args, arg)
		c.next++
	}
	if len(c.required) > 0 {
		and("%s @> $%d::text[]", c.required)
	}
	for _, elements := range c.overlaps {
		and("%s && $%d::text[]", elements)
	}
	if len(c.excluded) > 0 {
		and("NOT %s && $%d::text[]", c.excluded)
	}
	for _, term := range c.numbers {
		and(comparison(term.Operator()), []string{term.Key() + "=", onlyValue(term)})
	}
	if where.Len() == 0 {
		return "true", nil
	}
	return where.String(), args
}

// comparison is the condition for "key > n" and "key < n": as in Kubernetes, a value that is not a 64-bit integer matches neither.
// CASE keeps the cast behind the check whatever the planner does. The argument holds the "key=" prefix and the bound.
func comparison(op selection.Operator) string {
	sign := ">"
	if op == selection.LessThan {
		sign = "<"
	}
	return `EXISTS (SELECT FROM unnest(%[1]s) AS l WHERE starts_with(l, ($%[2]d::text[])[1]) AND ` +
		`CASE WHEN substr(l, length(($%[2]d::text[])[1]) + 1) ~ '^[-+]?[0-9]+$' ` +
		`THEN substr(l, length(($%[2]d::text[])[1]) + 1)::numeric ` + sign + ` (($%[2]d::text[])[2])::numeric ` +
		`AND substr(l, length(($%[2]d::text[])[1]) + 1)::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 END)`
}

// pairs returns the "k=v" elements of a term, sorted.
func pairs(term labels.Requirement) []string {
	elements := make([]string, 0, len(term.ValuesUnsorted()))
	for _, value := range term.ValuesUnsorted() {
		elements = append(elements, pair(term.Key(), value))
	}
	slices.Sort(elements)
	return elements
}

// onlyValue returns the bound of a comparison as Postgres reads it. NewRequirement made sure that it is one integer.
func onlyValue(term labels.Requirement) string {
	for _, value := range term.ValuesUnsorted() {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return "NaN"
}

func sortedKeys(set map[string]string) []string { return slices.Sorted(maps.Keys(set)) }
