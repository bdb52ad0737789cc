package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/syncsets/syncsets/libs/errs"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	uniqueViolation       = "23505"
	untranslatable        = "22P05"
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	duplicateSchema       = "42P06"
	undefinedTable        = "42P01"
	invalidSchemaName     = "3F000"
	queryCanceled         = "57014"
	lockNotAvailable      = "55P03"
	readOnlyTransaction   = "25006"
	idleInTransaction     = "25P03"
	classConnection       = "08"
	classResources        = "53"
	classOperator         = "57P"
	retryAfterUnavailable = 2 * time.Second
)

// Wrap describes err with a verb phrase and gives it a kind: a taken key is Conflict, no rows NotFound, a database that is away,
// starting, full or read-only Unavailable. An error that has a kind keeps it. Wrap of nil is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	var known *errs.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", what, err)
	}
	kind, message := classify(err)
	if kind == errs.Internal {
		return fmt.Errorf("%s: %w", what, err)
	}
	e := &errs.Error{Kind: kind, Message: message, Cause: fmt.Errorf("%s: %w", what, err)}
	if kind == errs.Unavailable {
		e.RetryAfter = retryAfterUnavailable
	}
	return e
}

func classify(err error) (errs.Kind, string) {
	var server *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errs.NotFound, "not found"
	case errors.As(err, &server):
		return classifyCode(server.Code)
	case errors.Is(err, context.Canceled):
		return errs.Internal, ""
	case lost(err):
		return errs.Unavailable, "the database does not answer"
	}
	return errs.Internal, ""
}

func classifyCode(code string) (errs.Kind, string) {
	switch {
	case code == uniqueViolation:
		return errs.Conflict, "already exists"
	case code == untranslatable:
		return errs.Invalid, "the document contains the character U+0000, which cannot be stored"
	case code == serializationFailure, code == deadlockDetected, code == lockNotAvailable:
		return errs.Unavailable, "the database is busy with conflicting work"
	case code == queryCanceled, code == readOnlyTransaction, code == idleInTransaction, strings.HasPrefix(code, classConnection),
		strings.HasPrefix(code, classResources), strings.HasPrefix(code, classOperator):
		return errs.Unavailable, "the database does not answer"
	}
	return errs.Internal, ""
}

// lost reports whether err is about reaching the server, not about what was asked of it.
func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		pgconn.SafeToRetry(err) || isClosed(err)
}

// isClosed recognises pgx's plain-text errors for a connection that ended under a query.
func isClosed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "conn closed") || strings.Contains(text, "unexpected EOF") || strings.Contains(text, "closed pool")
}

func hasCode(err error, codes ...string) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range codes {
		if server.Code == code {
			return true
		}
	}
	return false
}
