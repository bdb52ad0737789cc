// Package rest is the HTTP edge that the services share: one generic Handle turns a service method into a route; decoding is strict,
// answers carry entity tags and warnings, failures are application/problem+json (RFC 9457), and every answer has X-Request-Id and
// traceparent.
//
// A request passes, from the outside in:
//
//	server span -> request id -> recovery -> router (404, 405) -> authentication -> headers and query (406, 415, 400)
//	-> decoding (413, 400) -> time limit -> authorization -> the service method -> encoding
package rest
