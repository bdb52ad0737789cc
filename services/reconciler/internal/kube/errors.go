package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// classify turns what a request ended with into the words of work.Target. An answer of the target stays what it is, except that
// nobody is let in (401).
func classify(err error) error {
	var status apierrors.APIStatus
	var unreachable *work.Unreachable
	var unclear doubt
	var final verdict
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unreachable), errors.As(err, &unclear), errors.As(err, &final):
		return err
	case apierrors.IsUnauthorized(err):
		return &work.Unreachable{Reason: v1.ReasonUnauthorized, Message: "the target does not accept the credential", Cause: err}
	case errors.As(err, &status), errors.Is(err, context.Canceled):
		return err
	}
	return &work.Unreachable{Reason: reason(err), Message: decide.Truncate(err.Error()), Cause: err}
}

// doubt says why it cannot be told whether an object is there. It may pass.
type doubt string

// Error implements error.
func (d doubt) Error() string { return string(d) }

// verdict is an error about one object that has its words already.
type verdict struct{ error }

// Unwrap returns the error.
func (v verdict) Unwrap() error { return v.error }

// asUnreachable is classify for the first requests of a connection, where every failure is one of the connection.
func asUnreachable(err error) error {
	err = classify(err)
	var unreachable *work.Unreachable
	if errors.As(err, &unreachable) || errors.Is(err, context.Canceled) {
		return err
	}
	reason := v1.ReasonConnectionRefused
	if apierrors.IsForbidden(err) {
		reason = v1.ReasonForbidden
	}
	return &work.Unreachable{Reason: reason, Message: decide.Truncate(err.Error()), Cause: err}
}

// reason names why nothing came back.
func reason(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, kubeconfig.ErrAddressDenied):
		return v1.ReasonAddressDenied
	case errors.As(err, &dns):
		return v1.ReasonDNSFailed
	case isTLS(err):
		return v1.ReasonTLSFailed
	case errors.Is(err, syscall.ECONNREFUSED):
		return v1.ReasonConnectionRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return v1.ReasonTimeout
	}
	return reasonOther
}

// reasonOther is shown of a connection that ended for no better known reason.
const reasonOther = v1.ReasonConnectionRefused

func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) ||
		errors.As(err, &record) || errors.As(err, &alert)
}

// refusal returns the target's answer about one object as the error to show. Of Secrets only reason and field paths are shown: the
// message may quote a value.
func refusal(s decide.Step, err error) error {
	var status apierrors.APIStatus
	var final verdict
	if errors.As(err, &final) || !errors.As(err, &status) {
		return classify(err)
	}
	if missing := missing(s, status.Status(), err); missing != nil {
		return missing
	}
	if s.Group != "" || s.Kind != "Secret" || apierrors.IsUnauthorized(err) {
		return classify(err)
	}
	message := string(status.Status().Reason)
	if details := status.Status().Details; details != nil {
		for _, cause := range details.Causes {
			message += fmt.Sprintf(", %s at %s", cause.Type, cause.Field)
		}
	}
	return errors.New(message)
}

// missing recognises a namespace or a kind that is not there.
func missing(s decide.Step, status metav1.Status, err error) error {
	if status.Reason != metav1.StatusReasonNotFound {
		return nil
	}
	if d := status.Details; d != nil && d.Kind == "namespaces" && d.Name == s.Namespace {
		return &work.Missing{What: "namespace", Cause: err}
	}
	return waitingForKind(kindOf(s))
}

func kindOf(s decide.Step) work.Kind {
	return work.Kind{Group: s.Group, Version: s.Version, Kind: s.Kind}
}
