// Package bench measures the whole system beside the bare work: the same objects written by a plain client-go loop to the same API
// server, in turns. It prints ratios; the absolute figures belong to the machine. `make bench` runs it.
package bench
