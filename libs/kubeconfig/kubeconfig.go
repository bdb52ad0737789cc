// Package kubeconfig reads kubeconfigs that strangers wrote. Check says what is wrong with one before it is stored; Load makes a client
// configuration of one for the only program that dials targets. Nothing of the text is handed to another parser: what is not known
// here has no effect, and what could run a program, read a file, borrow another identity or leave the chosen address is refused
// wherever it stands, also in contexts that are not the current one.
package kubeconfig

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncsets/syncsets/libs/errs"
)

// MaxSize is the largest kubeconfig, in bytes.
const MaxSize = 512 << 10

var (
	// ErrInvalid is in the chain of every error of Load: the text is dangerous, cannot be used, or needs what the policy forbids.
	ErrInvalid = errors.New("invalid kubeconfig")
	// ErrAddressDenied is in the chain of the error of a request whose server resolves to an address that the policy refuses.
	ErrAddressDenied = errors.New("address denied")
	// ErrRedirect is in the chain of the error of a request that was answered with a redirect.
	ErrRedirect = errors.New("redirect refused")
)

// Result is what Check found out about a kubeconfig without danger in it.
type Result struct {
	// Usable says that a client can be made of it; Fault says in a sentence why not.
	Usable bool
	Fault  string
	// Server is the URL of the current context's cluster.
	Server string
	// ExpiresAt is when the current context's client certificate or token ends, the earlier of the two; nil when neither tells.
	ExpiresAt *time.Time
	// Insecure says that the server's certificate would not be verified.
	Insecure bool
}

// Check examines text. The error is errs.Invalid and lists, each with its path, what makes the text dangerous: exec, auth-provider,
// file paths, token files, proxy-url, act-as and a server that is not https, anywhere; anchors, doubled keys and more than MaxSize
// bytes. A text that merely cannot be used is no error: the result says so. Neither shows any credential.
func Check(text string) (Result, error) {
	_, result, err := examine(text)
	return result, err
}

// Load makes a client configuration of text under the policy: it dials only allowed addresses, ignores the environment's proxies and
// refuses redirects. Its errors have ErrInvalid in their chain; the requests made with it fail with ErrAddressDenied or ErrRedirect.
func Load(text string, p Policy) (*rest.Config, error) {
	chosen, result, err := examine(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	case !result.Usable:
		return nil, invalid("%s", result.Fault)
	case result.Insecure && !p.AllowInsecure:
		return nil, invalid("insecure-skip-tls-verify is not allowed here")
	}
	config := chosen.config()
	config.Dial = p.dialer().DialContext
	config.Proxy = noProxy
	config.Wrap(refuseRedirects)
	return config, nil
}

// invalid makes an error of Load with a message for the user.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, errs.New(errs.Invalid, format, args...))
}

// examine parses text and picks the current context's cluster and user. The target is nil unless the result is usable.
func examine(text string) (*target, Result, error) {
	f, fault, faults := parse(text)
	if err := errs.InvalidFields(faults...); err != nil {
		return nil, Result{}, err
	}
	if fault != "" {
		return nil, Result{Fault: fault}, nil
	}
	chosen, fault := f.current()
	if fault == "" {
		fault = chosen.fault()
	}
	if fault != "" {
		return nil, Result{Fault: fault}, nil
	}
	return chosen, Result{Usable: true, Server: chosen.server, ExpiresAt: chosen.expiresAt(), Insecure: chosen.insecure}, nil
}
