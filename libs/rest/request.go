package rest

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/selector"
)

// Services take what the decoders produce from package request, which knows no HTTP.
type (
	// Key is request.Key.
	Key = request.Key
	// WriteOptions is request.WriteOptions.
	WriteOptions = request.WriteOptions
	// Delete is request.Delete.
	Delete = request.Delete
	// ListQuery is request.List.
	ListQuery = request.List
	// FeedQuery is request.Feed.
	FeedQuery = request.Feed
	// Create is request.Create.
	Create[T any] = request.Create[T]
	// Put is request.Put.
	Put[T any] = request.Put[T]
	// Result is request.Result.
	Result[T any] = request.Result[T]
	// None is the request of an operation that takes none, and the response of one that answers nothing.
	None = struct{}

	documentOf[T any] interface {
		*T
		Meta() *v1.Metadata
	}
)

// Page sizes of lists and feeds.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// ListParameters and FeedParameters are the query parameters that ListOf and FeedOf understand, for Route.Query.
var (
	ListParameters = []string{"namespace", "labelSelector", "limit", "continue"}
	FeedParameters = []string{"since", "limit"}
)

// later are parameters of the documented API that this version does not support.
var later = []string{"dryRun", "watch", "since"}

// checkRequest refuses what the route does not understand: a caller must never believe that something was heeded which was not.
func checkRequest(r *http.Request, route Route, maxBody int64) error {
	if !acceptsJSON(r.Header.Values("Accept")) {
		return errs.New(errs.NotAcceptable, "answers are application/json")
	}
	mayHaveBody := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
	hasBody := mayHaveBody && r.ContentLength != 0 // -1 when it is not said
	hasBody = hasBody && (r.ContentLength != 0 || r.Header.Get("Content-Type") != "")
	if err := checkContentType(r, route.Media); hasBody && err != nil {
		return err
	}
	if r.ContentLength > maxBody {
		return tooLarge(maxBody)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return errs.New(errs.Invalid, "the query string is not valid")
	}
	var faults []errs.Field
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if message := checkParameter(name, query[name], route.Query); message != "" {
			faults = append(faults, errs.Field{Path: "query." + name, Message: message})
		}
	}
	if r.Header.Get("Idempotency-Key") != "" {
		faults = append(faults, errs.Field{Path: "header.Idempotency-Key", Message: "is not supported yet"})
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("If-None-Match") != "" {
		faults = append(faults, errs.Field{Path: "header.If-None-Match", Message: "is not supported on writes: POST replaces nothing"})
	}
	if len(faults) > 0 {
		return &errs.Error{Kind: errs.Invalid, Message: "the request is not valid", Fields: faults}
	}
	return nil
}

func checkParameter(name string, values, known []string) string {
	switch {
	case slices.Contains(known, name) && len(values) > 1:
		return "is given more than once"
	case slices.Contains(known, name):
		return ""
	case slices.Contains(later, name):
		return "is not supported here yet"
	case len(known) == 0:
		return "is not known; there are no parameters here"
	}
	return "is not known; there are " + strings.Join(known, ", ")
}

func checkContentType(r *http.Request, allowed []string) error {
	if len(allowed) == 0 {
		allowed = []string{"application/json"}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return errs.New(errs.UnsupportedMedia, "Content-Encoding %s is not supported", encoding)
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || !slices.Contains(allowed, media) || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return errs.New(errs.UnsupportedMedia, "send Content-Type: %s", strings.Join(allowed, " or "))
	}
	return nil
}

// acceptsJSON reports whether JSON is among what the caller takes; the most specific range that covers it decides.
func acceptsJSON(accept []string) bool {
	list := strings.Join(accept, ",")
	if strings.TrimSpace(list) == "" {
		return true
	}
	best, accepted := 0, false
	for part := range strings.SplitSeq(list, ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		specific := slices.Index([]string{"*/*", "application/*", "application/json"}, media)
		if specific < best {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		best, accepted = specific, err != nil || q > 0
	}
	return accepted
}

// KeyOf reads the key from the path's {namespace} and {name}.
func KeyOf(r *http.Request) (Key, error) {
	vars := mux.Vars(r)
	return Key{Namespace: vars["namespace"], Name: vars["name"]}, nil
}

// Nothing is the decoder of operations that take nothing.
func Nothing(*http.Request) (None, error) { return None{}, nil }

// PathValue returns the decoder of one path variable.
func PathValue(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) { return mux.Vars(r)[name], nil }
}

// DeleteOf reads key and options of a deletion.
func DeleteOf(r *http.Request) (Delete, error) {
	key, err := KeyOf(r)
	return Delete{Key: key, Options: optionsOf(r)}, err
}

func optionsOf(r *http.Request) WriteOptions {
	o := WriteOptions{IfMatch: strings.Join(r.Header.Values("If-Match"), ",")}
	for name, values := range r.URL.Query() {
		if o.Query == nil {
			o.Query = map[string]string{}
		}
		o.Query[name] = values[0]
	}
	return o
}

// ListOf reads filters and page of a list; parameters beside ListParameters go to Filters.
func ListOf(r *http.Request) (ListQuery, error) {
	query := r.URL.Query()
	limit, err := limitOf(query)
	if err == nil {
		err = checkSelector(query.Get("labelSelector"))
	}
	l := ListQuery{
		Namespace: query.Get("namespace"), LabelSelector: query.Get("labelSelector"), Continue: query.Get("continue"), Limit: limit,
	}
	for name := range query {
		if !slices.Contains(ListParameters, name) {
			if l.Filters == nil {
				l.Filters = map[string]string{}
			}
			l.Filters[name] = query.Get(name)
		}
	}
	return l, err
}

// checkSelector names the parameter before a store, which knows no parameters, refuses its value.
func checkSelector(text string) error {
	_, err := selector.Parse(text)
	if err == nil {
		return nil
	}
	message := "is not a label selector"
	var known *errs.Error
	if errors.As(err, &known) {
		message = known.Message
	}
	return InvalidParameter("labelSelector", message)
}

// FeedOf reads position and page of a feed.
func FeedOf(r *http.Request) (FeedQuery, error) {
	query := r.URL.Query()
	limit, err := limitOf(query)
	return FeedQuery{Since: query.Get("since"), Limit: limit}, err
}

func limitOf(query url.Values) (int, error) {
	if !query.Has("limit") {
		return DefaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > MaxLimit {
		return 0, InvalidParameter("limit", fmt.Sprintf("must be a number from 1 to %d", MaxLimit))
	}
	return limit, nil
}

// InvalidParameter makes the errs.Invalid error of one query parameter.
func InvalidParameter(name, message string) error {
	return &errs.Error{
		Kind: errs.Invalid, Message: "the request is not valid", Fields: []errs.Field{{Path: "query." + name, Message: message}},
	}
}
