package templating

import (
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"time"
)

// Cluster is what templates may know of a cluster.
type Cluster struct {
	Namespace, Name string
	Labels          map[string]string
}

// Place says what a template stands for.
type Place int

// The places. In an Identity (apiVersion, kind, name or namespace of an object) a missing label is a fault whatever the set says of
// missing labels: without it the text would name another object.
const (
	Value Place = iota
	Identity
)

// The bounds of one run. The deadline is none that a template within the other bounds comes near to.
const (
	maxSteps  = 50_000
	maxNested = 100      // templates that call one another
	maxWork   = 64 << 20 // bytes that functions read and make
	maxValue  = 1 << 20  // bytes that one template renders or one function makes
	maxOutput = 3 << 20  // bytes that all templates render
	deadline  = 10 * time.Second
)

// Run renders the templates of one set for one cluster; all bounds are of a whole run. It is not safe for concurrent use.
type Run struct {
	cluster Cluster
	empty   bool  // a missing label is the empty text
	place   Place // of the template that is being rendered
	bound   map[string]any
	until   time.Time

	steps, nested, work, output int
}

// NewRun begins a run. empty makes a missing label the empty text except in identities; otherwise it is a fault that names the label.
func NewRun(c Cluster, empty bool) *Run {
	return &Run{cluster: c, empty: empty, bound: map[string]any{}, until: time.Now().Add(deadline)}
}

// Render returns what t says of the run's cluster. Its error is a *Fault.
func (r *Run) Render(t *Template, p Place) (string, error) {
	bound := make(template.FuncMap, len(t.names))
	for _, name := range t.names {
		if r.bound[name] == nil {
			r.bound[name] = r.bind(name)
		}
		bound[name] = r.bound[name]
	}
	parts, err := t.parts.Clone()
	if err != nil {
		return "", faultOf(err)
	}
	r.place, r.nested = p, 0
	out := &writer{run: r}
	if err := parts.Funcs(bound).Execute(out, nil); err != nil {
		return "", faultOf(err)
	}
	text := out.text.String()
	if strings.Contains(text, "<no value>") && !strings.Contains(t.text, "<no value>") {
		return "", faultOf(errNoValue)
	}
	return text, nil
}

// bind returns a function as a template of this run calls it.
func (r *Run) bind(name string) any {
	switch name {
	case stepName:
		return r.step
	case enterName:
		return r.enter
	case leaveName:
		return r.leave
	}
	return functions[name](r)
}

func (r *Run) step() (string, error) {
	r.steps++
	if r.steps > maxSteps {
		return "", &boundError{fmt.Sprintf("the templates take more than %d steps", maxSteps)}
	}
	if r.steps%64 == 0 {
		return "", r.inTime()
	}
	return "", nil
}

func (r *Run) inTime() error {
	if time.Now().After(r.until) {
		return &boundError{fmt.Sprintf("the templates take longer than %s", deadline)}
	}
	return nil
}

func (r *Run) enter() (string, error) {
	r.nested++
	if r.nested > maxNested {
		return "", &boundError{fmt.Sprintf("more than %d templates call one another", maxNested)}
	}
	return r.step()
}

func (r *Run) leave() string {
	r.nested--
	return ""
}

// charge counts bytes that a function reads or makes.
func (r *Run) charge(bytes int) error {
	if bytes < 0 || bytes > maxWork-r.work {
		return &boundError{fmt.Sprintf("the functions of the templates work on more than %d MiB", maxWork>>20)}
	}
	r.work += bytes
	return r.inTime()
}

// label looks up a label of the cluster.
func (r *Run) label(key string) (string, error) {
	value, there := r.cluster.Labels[key]
	if !there && (!r.empty || r.place == Identity) {
		return "", &missingLabel{key: key}
	}
	return value, nil
}

// writer collects the output of one template.
type writer struct {
	run  *Run
	text strings.Builder
}

// Write implements io.Writer. It fails beyond the bounds.
func (w *writer) Write(p []byte) (int, error) {
	w.run.output += len(p)
	switch {
	case w.text.Len()+len(p) > maxValue:
		return 0, &boundError{fmt.Sprintf("the output is larger than %d MiB", maxValue>>20)}
	case w.run.output > maxOutput:
		return 0, &boundError{fmt.Sprintf("the output of all templates is larger than %d MiB", maxOutput>>20)}
	}
	return w.text.Write(p)
}

// guard makes of a function one that is counted: what it is given, what it makes, and beforehand what it would make of it.
func guard(function any, estimate func(args []reflect.Value) int) func(*Run) any {
	f := reflect.ValueOf(function)
	t := f.Type()
	in := make([]reflect.Type, t.NumIn())
	for n := range in {
		in[n] = t.In(n)
	}
	counted := reflect.FuncOf(in, []reflect.Type{t.Out(0), reflect.TypeFor[error]()}, t.IsVariadic())
	return func(r *Run) any {
		return reflect.MakeFunc(counted, func(args []reflect.Value) []reflect.Value {
			return r.call(f, args, estimate)
		}).Interface()
	}
}

func (r *Run) call(f reflect.Value, args []reflect.Value, estimate func([]reflect.Value) int) []reflect.Value {
	fail := func(err error) []reflect.Value {
		return []reflect.Value{reflect.Zero(f.Type().Out(0)), reflect.ValueOf(&err).Elem()}
	}
	given := 0
	for _, a := range args {
		given += size(a)
	}
	if err := r.charge(given); err != nil {
		return fail(err)
	}
	if estimate != nil {
		if most := estimate(args); most < 0 || most > maxEstimate {
			return fail(&boundError{fmt.Sprintf("a function could make more than %d MiB", maxEstimate>>20)})
		}
	}
	results := f.Call
	if f.Type().IsVariadic() {
		results = f.CallSlice
	}
	out := results(args)
	if len(out) == 2 && !out[1].IsNil() {
		return out
	}
	made := size(out[0])
	if made > maxValue {
		return fail(&boundError{fmt.Sprintf("a function makes more than %d MiB", maxValue>>20)})
	}
	if err := r.charge(made); err != nil {
		return fail(err)
	}
	return []reflect.Value{out[0], reflect.Zero(reflect.TypeFor[error]())}
}
