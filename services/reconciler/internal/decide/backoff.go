package decide

import "time"

// Backoff returns how long a set, or a cluster's connection, rests after so many failures in a row: 5 s, doubling, at most 15
// minutes, up to a fifth of it by chance. r is in [0, 1).
func Backoff(attempts int, r float64) time.Duration {
	const first, most = 5 * time.Second, 15 * time.Minute
	base := most * 5 / 6
	if shift := max(attempts, 1) - 1; shift < 8 {
		base = min(base, first<<shift)
	}
	return base + time.Duration(r*float64(base)/5)
}
