package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/syncsets/syncsets/libs/errs"
)

// Budget is how many clusters may lose objects of one set within an hour before the rest waits for a confirmation: the larger of
// Clusters and Percent of the clusters that the set has objects on.
type Budget struct {
	Clusters int
	Percent  int
}

// ParseBudget reads "5,10%".
func ParseBudget(s string) (Budget, error) {
	clusters, percent, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), ",")
	percent, isPercent := strings.CutSuffix(percent, "%")
	c, err1 := strconv.Atoi(clusters)
	p, err2 := strconv.Atoi(percent)
	if !ok || !isPercent || err1 != nil || err2 != nil || c < 0 || p < 0 || p > 100 {
		return Budget{}, errs.New(errs.Invalid, "deletion budget %q is not of the form 5,10%%", s)
	}
	return Budget{Clusters: c, Percent: p}, nil
}

// String returns the form that ParseBudget reads.
func (b Budget) String() string { return fmt.Sprintf("%d,%d%%", b.Clusters, b.Percent) }

// Allows reports whether losing objects on n of total clusters stays within the budget.
func (b Budget) Allows(n, total int) bool { return n <= max(b.Clusters, total*b.Percent/100) }
