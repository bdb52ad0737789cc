package templating

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"text/template"
)

// Fault says why a template cannot be parsed or rendered.
type Fault struct {
	Line    int    // 1 is the first; 0: the whole text
	Message string // may quote the template and what it works on
	Label   string // of the cluster that is missing, if that is the fault
}

// Error implements error: "line 2: unexpected {{end}}".
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.Message
	}
	return fmt.Sprintf("line %d: %s", f.Line, f.Message)
}

// Terse is the message without anything that the template works on, for those whose values are secret.
func (f *Fault) Terse() string {
	switch {
	case f.Label != "":
		return f.Error()
	case f.Line == 0:
		return "the template fails"
	}
	return fmt.Sprintf("line %d: the template fails", f.Line)
}

var (
	// position begins the errors of text/template: "template: name:line: " or "template: name:line:column: ".
	position = regexp.MustCompile(`^template: ` + root + `:(\d+)(?::\d+)?: `)
	// circumstance is what text/template adds on the way up from the cause.
	circumstance = regexp.MustCompile(`^executing "(?:[^"\\]|\\.)*" at <(?s:.*?)>: (?:error calling \w+: )?`)
)

// maxMessage bounds a message, in bytes.
const maxMessage = 512

// faultOf makes a Fault of an error of text/template.
func faultOf(err error) *Fault {
	f := &Fault{}
	message := err.Error()
	if at := position.FindStringSubmatch(message); at != nil {
		f.Line, _ = strconv.Atoi(at[1])
		message = message[len(at[0]):]
	}
	message = circumstance.ReplaceAllString(message, "")
	var missing *missingLabel
	var bound *boundError
	var executing template.ExecError
	switch {
	case errors.As(err, &missing):
		f.Label, message = missing.key, missing.Error()
	case errors.As(err, &bound):
		f.Line, message = 0, bound.Error() // the action that used up the rest is not the one to blame
	case errors.As(err, &executing) && f.Line == 0:
		message = "the template fails"
	}
	f.Message = message[:min(len(message), maxMessage)]
	return f
}

// missingLabel is a label that a template asks for and that the cluster does not have.
type missingLabel struct{ key string }

func (m *missingLabel) Error() string { return fmt.Sprintf("the cluster has no label %q", m.key) }

// boundError is a bound that a rendering ran into.
type boundError struct{ what string }

func (b *boundError) Error() string { return b.what }
