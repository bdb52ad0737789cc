package templating

import (
	"math"
	"reflect"
	"strings"
)

// maxEstimate is how much a function may make at most as far as its arguments tell, in bytes. It is more than what it may make in the
// end, because the estimates are generous.
const maxEstimate = 8 << 20

// word is what a value takes besides its text, in bytes.
const word = 16

// maxDepth is how deep a value is looked into. The functions cannot make a value that contains itself, and JSON is at most this deep.
const maxDepth = 10_000

// size is roughly what a value takes, in bytes.
func size(v reflect.Value) int {
	bytes, _ := measure(v, 0)
	return bytes
}

// measure returns the size of a value and how deep it is nested.
func measure(v reflect.Value, level int) (bytes, depth int) {
	if level > maxDepth {
		return math.MaxInt32, level
	}
	bytes, depth = word, level
	add := func(child reflect.Value) {
		b, d := measure(child, level+1)
		bytes, depth = bytes+b, max(depth, d)
	}
	switch v.Kind() {
	case reflect.String:
		bytes += v.Len()
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return measure(v.Elem(), level)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytes + v.Len(), depth
		}
		for n := range v.Len() {
			add(v.Index(n))
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			add(entries.Key())
			add(entries.Value())
		}
	}
	return bytes, depth
}

// product multiplies without overflow; -1 is too much.
func product(a, b int) int {
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > maxEstimate/b {
		return -1
	}
	return a * b
}

func open(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

func number(v reflect.Value) int {
	v = open(v)
	if v.CanInt() {
		return int(min(v.Int(), math.MaxInt32))
	}
	return 0
}

func float(v reflect.Value) float64 {
	v = open(v)
	if v.CanInt() {
		return float64(v.Int())
	}
	return 0
}

func text(v reflect.Value) string {
	v = open(v)
	if v.Kind() == reflect.String {
		return v.String()
	}
	return ""
}

// length is the number of elements of a list.
func length(v reflect.Value) int {
	v = open(v)
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Array {
		return v.Len()
	}
	return 1
}

// span is the size of the numbers from start to stop.
func span(start, stop, step float64) int {
	if step == 0 {
		return 0
	}
	if count := math.Abs(stop-start) / math.Abs(step); count*word <= maxEstimate {
		return int(count) * word
	}
	return -1
}

// sequence is of seq: last; first, last; or first, step, last.
func sequence(args []reflect.Value) int {
	params := args[0]
	switch params.Len() {
	case 1:
		return span(0, float(params.Index(0)), 1)
	case 2:
		return span(float(params.Index(0)), float(params.Index(1)), 1)
	case 3:
		return span(float(params.Index(0)), float(params.Index(2)), float(params.Index(1)))
	}
	return 0
}

func indented(args []reflect.Value) int {
	lines := strings.Count(text(args[1]), "\n") + 1
	return addUp(product(number(args[0]), lines), size(args[1]))
}

func replaced(args []reflect.Value) int {
	old, by, in := text(args[0]), size(args[1]), text(args[2])
	return addUp(product(strings.Count(in, old), by), len(in))
}

// substituted is of the regular expressions: everywhere in the text the replacement, in which every $ can be the whole text.
func substituted(args []reflect.Value) int {
	in, by := text(args[1]), text(args[2])
	return addUp(product(len(in)+1, len(by)), product(strings.Count(by, "$"), len(in)))
}

// pretty is of indented JSON: every part on a line of its own, as far to the right as it is deep.
func pretty(args []reflect.Value) int {
	bytes, depth := measure(args[0], 0)
	return product(bytes, depth+1)
}

// formatted is of printf: every verb can show the largest argument, beside the widths.
func formatted(args []reflect.Value) int {
	format, largest := text(args[0]), 0
	for n := range args[1].Len() {
		largest = max(largest, size(args[1].Index(n)))
	}
	sum, _ := widths(format)
	return addUp(product(strings.Count(format, "%"), largest), addUp(sum, len(format)))
}

func addUp(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

// widths adds up the numbers in the verbs of a format. It is not ok to have %p or a width that is an argument.
func widths(format string) (sum int, ok bool) {
	for {
		_, rest, found := strings.Cut(format, "%")
		if !found {
			return sum, true
		}
		n, current := 0, 0
		for n < len(rest) && strings.IndexByte("+-# 0123456789.[]*", rest[n]) >= 0 {
			switch c := rest[n]; {
			case c == '*':
				return sum, false
			case c >= '0' && c <= '9':
				current = min(current*10+int(c-'0'), maxEstimate+1)
			default:
				sum, current = sum+current, 0
			}
			n++
		}
		if n < len(rest) && rest[n] == 'p' {
			return sum, false
		}
		sum = min(sum+current, maxEstimate+1)
		format = rest[min(n+1, len(rest)):]
	}
}
