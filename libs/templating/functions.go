package templating

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// clusterFunctions are those whose results differ between clusters.
var clusterFunctions = map[string]func(*Run) any{
	"fromClusterLabel": func(r *Run) any { return r.label },
	"fromCDLabel":      func(r *Run) any { return r.label },
	"clusterName":      func(r *Run) any { return func() string { return r.cluster.Name } },
	"clusterNamespace": func(r *Run) any { return func() string { return r.cluster.Namespace } },
}

// fromSprig are the functions of sprig that templates may use: those that give the same output every time and change none of their
// arguments. Left out are the environment, random values, uuids, dates, keys and certificates, the network and the file system; set,
// unset and merge, with which a value could contain itself; values, in no order.
var fromSprig = []string{
	"trim", "trimAll", "trimSuffix", "trimPrefix", "upper", "lower", "title", "untitle", "substr", "trunc", "abbrev", "abbrevboth",
	"nospace", "initials", "swapcase", "snakecase", "camelcase", "kebabcase", "contains", "hasPrefix", "hasSuffix", "quote", "squote",
	"cat", "plural", "sha1sum", "sha256sum", "sha512sum", "adler32sum", "toString", "toStrings", "atoi", "int", "int64", "float64",
	"toDecimal", "split", "splitList", "splitn", "add1", "add", "sub", "div", "mod", "mul", "add1f", "addf", "subf", "divf", "mulf",
	"biggest", "max", "min", "maxf", "minf", "ceil", "floor", "round", "sortAlpha", "default", "empty", "coalesce", "all", "any",
	"compact", "fromJson", "mustFromJson", "toJson", "mustToJson", "toRawJson", "mustToRawJson", "ternary", "typeOf", "typeIs",
	"typeIsLike", "kindOf", "kindIs", "deepEqual", "base", "dir", "clean", "ext", "isAbs", "b64enc", "b64dec", "b32enc", "b32dec",
	"tuple", "list", "dict", "get", "hasKey", "pluck", "pick", "omit", "append", "push", "prepend", "first", "rest", "last", "initial",
	"reverse", "has", "slice", "concat", "dig", "semver", "semverCompare", "fail", "regexMatch", "mustRegexMatch", "regexFind",
	"mustRegexFind", "regexFindAll", "mustRegexFindAll", "regexSplit", "mustRegexSplit", "regexQuoteMeta", "urlParse", "urlJoin",
}

// growing are the functions of sprig that can make much of little, each with the most that it makes of its arguments, in bytes.
var growing = map[string]func(args []reflect.Value) int{
	"repeat":                     func(a []reflect.Value) int { return product(number(a[0]), len(text(a[1]))) },
	"indent":                     indented,
	"nindent":                    indented,
	"wrap":                       func(a []reflect.Value) int { return 2 * size(a[1]) },
	"wrapWith":                   func(a []reflect.Value) int { return product(size(a[1])+1, size(a[2])+1) },
	"replace":                    replaced,
	"join":                       func(a []reflect.Value) int { return addUp(product(len(text(a[0])), length(a[1])), size(a[1])) },
	"until":                      func(a []reflect.Value) int { return span(0, float(a[0]), 1) },
	"untilStep":                  func(a []reflect.Value) int { return span(float(a[0]), float(a[1]), float(a[2])) },
	"seq":                        sequence,
	"uniq":                       func(a []reflect.Value) int { return product(length(a[0]), size(a[0])) },
	"without":                    func(a []reflect.Value) int { return product(length(a[0]), size(a[1])) },
	"toPrettyJson":               pretty,
	"mustToPrettyJson":           pretty,
	"regexReplaceAll":            substituted,
	"mustRegexReplaceAll":        substituted,
	"regexReplaceAllLiteral":     substituted,
	"mustRegexReplaceAllLiteral": substituted,
}

// functions are all functions of templates by name, besides the comparisons and accessors that text/template brings.
var functions = known()

func known() map[string]func(*Run) any {
	from := sprig.TxtFuncMap()
	all := maps.Clone(clusterFunctions)
	for _, name := range fromSprig {
		all[name] = guard(from[name], nil)
	}
	for name, estimate := range growing {
		all[name] = guard(from[name], estimate)
	}
	all["keys"] = guard(keys, nil)
	// Those of text/template that make new text are counted, too.
	all["print"] = guard(fmt.Sprint, nil)
	all["println"] = guard(fmt.Sprintln, nil)
	all["printf"] = guard(printf, formatted)
	all["html"] = guard(template.HTMLEscaper, nil)
	all["js"] = guard(template.JSEscaper, nil)
	all["urlquery"] = guard(template.URLQueryEscaper, nil)
	return all
}

// allowed is what a text is parsed with: the names matter, nothing is called.
func allowed() template.FuncMap {
	names := make(template.FuncMap, len(functions))
	for name := range functions {
		names[name] = func() string { return "" }
	}
	return names
}

// keys returns the keys of the dicts, sorted. Sprig's keys has no order.
func keys(dicts ...map[string]any) []string {
	var all []string
	for _, d := range dicts {
		all = append(all, slices.Collect(maps.Keys(d))...)
	}
	slices.Sort(all)
	return all
}

// printf formats as fmt.Sprintf does, except with %p, whose output is another every time, and with * for a width.
func printf(format string, args ...any) (string, error) {
	if _, ok := widths(format); !ok {
		return "", fmt.Errorf("printf does not support %%p and *")
	}
	return fmt.Sprintf(format, args...), nil
}
