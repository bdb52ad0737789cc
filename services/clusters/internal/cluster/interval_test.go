package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
)

func TestIntervalsAreDurationsWithinReason(t *testing.T) {
	t.Parallel()
	for value, valid := range map[string]bool{
		"": true, "1m": true, "90m": true, "168h": true,
		"59s": false, "168h1s": false, "-5m": false, "5": false, "often": false, "1d": false,
	} {
		c := v1.Cluster{Metadata: v1.Metadata{Namespace: "foo", Name: "a"}, VerifyInterval: value, ReapplyInterval: value}
		var got, want []string
		for _, f := range cluster.Validate(&c) {
			got = append(got, f.Path+": "+f.Message)
		}
		if !valid {
			const message = ": must be a duration from 1m to 168h, such as 30m"
			want = []string{"verifyInterval" + message, "reapplyInterval" + message}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", value, diff)
		}
	}
}
