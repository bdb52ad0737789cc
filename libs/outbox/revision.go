package outbox

import (
	"strconv"
	"strings"

	"github.com/syncsets/syncsets/libs/errs"
)

// Revision is a position in a service's event log. N is dense within an epoch; revisions of different epochs are never compared. The
// zero Revision is the beginning of the log, whatever its epoch.
type Revision struct {
	Epoch string
	N     int64
}

// String returns "<epoch>.<n>", or "" for the zero Revision.
func (r Revision) String() string {
	if r == (Revision{}) {
		return ""
	}
	return r.Epoch + "." + strconv.FormatInt(r.N, 10)
}

// ParseRevision reads what String wrote. Its error is errs.Invalid.
func ParseRevision(s string) (Revision, error) {
	if s == "" {
		return Revision{}, nil
	}
	epoch, number, found := strings.Cut(s, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || n < 0 || !validEpoch(epoch) || number != strconv.FormatInt(n, 10) {
		return Revision{}, errs.New(errs.Invalid, "%.80q is not a revision: want <epoch>.<number>, as a list or an event shows it", s)
	}
	return Revision{Epoch: epoch, N: n}, nil
}

// validEpoch keeps to what the relay draws, lower-case letters and digits: a revision is safe in a URL and in a header.
func validEpoch(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0
}

// MarshalText implements encoding.TextMarshaler.
func (r Revision) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Revision) UnmarshalText(text []byte) error {
	parsed, err := ParseRevision(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}
