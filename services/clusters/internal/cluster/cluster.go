// Package cluster is what the clusters service does: it registers targets, keeps their credentials out of sight, and says what a valid
// cluster is.
package cluster

import (
	"errors"
	"time"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/kubeconfig"
)

// Validate returns every fault of a cluster as a client sends it. Whether a kubeconfig may be absent is not decided here.
func Validate(c *v1.Cluster) []errs.Field {
	faults := metadata.Check(c.Metadata, v1.KindCluster, true)
	faults = append(faults, checkInterval("verifyInterval", c.VerifyInterval)...)
	faults = append(faults, checkInterval("reapplyInterval", c.ReapplyInterval)...)
	if c.Kubeconfig != nil {
		_, more := examine(*c.Kubeconfig)
		faults = append(faults, more...)
	}
	return faults
}

// The bounds of a cluster's own intervals.
const (
	minInterval = time.Minute
	maxInterval = 7 * 24 * time.Hour
)

// checkInterval returns the fault of an interval; "" is the reconciler's own.
func checkInterval(path, value string) []errs.Field {
	if value == "" {
		return nil
	}
	if d, err := time.ParseDuration(value); err != nil || d < minInterval || d > maxInterval {
		return []errs.Field{{Path: path, Message: "must be a duration from 1m to 168h, such as 30m"}}
	}
	return nil
}

// ValidateNew returns every fault of a cluster that is not there yet: Validate's, and a kubeconfig that is missing.
func ValidateNew(c *v1.Cluster) []errs.Field {
	faults := Validate(c)
	if c.Kubeconfig == nil {
		faults = append(faults, missingKubeconfig)
	}
	return faults
}

// credential is what is kept of a kubeconfig besides its text. Warning says why it cannot be used, "" when it can.
type credential struct {
	warning   string
	expiresAt *time.Time
}

// examine returns what is known of a kubeconfig, and what makes it unacceptable.
func examine(text string) (credential, []errs.Field) {
	const path = "kubeconfig"
	if text == "" {
		return credential{}, []errs.Field{{Path: path, Message: "must not be empty; leave it out of a replacement to keep what is stored"}}
	}
	result, err := kubeconfig.Check(text)
	if err != nil {
		return credential{}, dangers(path, err)
	}
	found := credential{expiresAt: result.ExpiresAt}
	if found.expiresAt != nil {
		end := found.expiresAt.UTC()
		found.expiresAt = &end
	}
	if !result.Usable {
		found.warning = "the kubeconfig cannot be used until it is replaced: " + result.Fault
	}
	return found, nil
}

// dangers puts the paths inside the kubeconfig behind the path of the field.
func dangers(path string, err error) []errs.Field {
	var known *errs.Error
	if !errors.As(err, &known) || len(known.Fields) == 0 {
		return []errs.Field{{Path: path, Message: "is not acceptable"}}
	}
	faults := make([]errs.Field, 0, len(known.Fields))
	for _, f := range known.Fields {
		at := path
		if f.Path != "" {
			at += "." + f.Path
		}
		faults = append(faults, errs.Field{Path: at, Message: f.Message})
	}
	return faults
}
