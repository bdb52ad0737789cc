package v1

import "time"

// Results of a set on a cluster.
const (
	ResultSuccess   = "Success"
	ResultFailure   = "Failure"
	ResultPending   = "Pending"
	ResultSuspended = "Suspended"
	ResultHeld      = "Held"
)

// States of one object.
const (
	StateCreated   = "Created"
	StateApplied   = "Applied"
	StateUnchanged = "Unchanged"
	StateConflict  = "Conflict"
	StateFailed    = "Failed"
	StateDeleting  = "Deleting"
	StateHeld      = "Held"
	StateRetained  = "Retained"
)

// Condition types and the reasons of Reachable.
const (
	ConditionReady     = "Ready"
	ConditionReachable = "Reachable"
	ConditionFailed    = "Failed"

	ReasonReachable            = "Reachable"
	ReasonDNSFailed            = "DNSFailed"
	ReasonConnectionRefused    = "ConnectionRefused"
	ReasonTimeout              = "Timeout"
	ReasonTLSFailed            = "TLSFailed"
	ReasonUnauthorized         = "Unauthorized"
	ReasonForbidden            = "Forbidden"
	ReasonAddressDenied        = "AddressDenied"
	ReasonIdentityChanged      = "IdentityChanged"
	ReasonDuplicateTarget      = "DuplicateTarget"
	ReasonInvalidKubeconfig    = "InvalidKubeconfig"
	ReasonWaitingForKubeconfig = "WaitingForKubeconfig"
)

// Health of an object, a set or a cluster, by kstatus' names.
const (
	HealthCurrent     = "Current"
	HealthInProgress  = "InProgress"
	HealthFailed      = "Failed"
	HealthTerminating = "Terminating"
	HealthNotFound    = "NotFound"
	HealthUnknown     = "Unknown"
)

// Work causes.
const (
	CauseIdle           = "Idle"
	CauseQueued         = "Queued"
	CauseRunning        = "Running"
	CauseBackoff        = "Backoff"
	CauseHeld           = "Held"
	CauseSuspended      = "Suspended"
	CauseUnreachable    = "Unreachable"
	CauseWaitingForKind = "WaitingForKind"
	CausePaused         = "Paused"
	CauseBraked         = "Braked"
)

// ClusterSync is what the reconciler knows of one cluster.
type ClusterSync struct {
	Metadata
	Status ClusterSyncStatus `json:"status"`
}

// ClusterSyncStatus is the state of one cluster. Lists leave the objects of its sets out.
type ClusterSyncStatus struct {
	Conditions        []Condition `json:"conditions"`
	ClusterID         string      `json:"clusterID,omitempty"`
	KubernetesVersion string      `json:"kubernetesVersion,omitempty"`
	LastContactAt     *time.Time  `json:"lastContactAt,omitempty"`
	FirstSuccessTime  *time.Time  `json:"firstSuccessTime,omitempty"`
	// Health is the worst of the cluster's sets.
	Health           string      `json:"health,omitempty"`
	Work             WorkStatus  `json:"work"`
	LastRun          *RunStatus  `json:"lastRun,omitempty"`
	SyncSets         []SetStatus `json:"syncSets"`
	SelectorSyncSets []SetStatus `json:"selectorSyncSets"`
}

// Condition is a Kubernetes-style condition. Status is True, False or Unknown.
type Condition struct {
	Type               string     `json:"type"`
	Status             string     `json:"status"`
	Reason             string     `json:"reason"`
	Message            string     `json:"message,omitempty"`
	ObservedGeneration int64      `json:"observedGeneration,omitempty"`
	LastTransitionTime *time.Time `json:"lastTransitionTime,omitempty"`
}

// WorkStatus says what the queue has in mind for the cluster.
type WorkStatus struct {
	State         string     `json:"state"`
	Cause         string     `json:"cause"`
	Since         *time.Time `json:"since,omitempty"`
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
	Attempts      int        `json:"attempts"`
}

// RunStatus describes the last finished run. Durations are Go durations.
type RunStatus struct {
	StartedAt    time.Time       `json:"startedAt"`
	Duration     string          `json:"duration"`
	QueuedFor    string          `json:"queuedFor,omitempty"`
	Requests     int             `json:"requests"`
	ThrottledFor string          `json:"throttledFor,omitempty"`
	Slowest      []RequestTiming `json:"slowest,omitempty"`
	TraceID      string          `json:"traceID,omitempty"`
}

// RequestTiming is one of the slowest requests of a run.
type RequestTiming struct {
	Request  string `json:"request"`
	Duration string `json:"duration"`
}

// SetStatus is the state of one set on one cluster.
type SetStatus struct {
	Name               string         `json:"name"`
	Namespace          string         `json:"namespace,omitempty"`
	UID                string         `json:"uid"`
	ObservedGeneration int64          `json:"observedGeneration"`
	TargetGeneration   int64          `json:"targetGeneration"`
	Result             string         `json:"result"`
	Cause              string         `json:"cause,omitempty"`
	Health             string         `json:"health,omitempty"`
	FailureMessage     string         `json:"failureMessage,omitempty"`
	LastTransitionTime *time.Time     `json:"lastTransitionTime,omitempty"`
	FirstSuccessTime   *time.Time     `json:"firstSuccessTime,omitempty"`
	Objects            []ObjectStatus `json:"objects,omitempty"`
}

// ObjectStatus is the state of one object of a set on one cluster.
type ObjectStatus struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Namespace  string     `json:"namespace,omitempty"`
	Name       string     `json:"name"`
	UID        string     `json:"uid,omitempty"`
	State      string     `json:"state"`
	Health     string     `json:"health,omitempty"`
	Message    string     `json:"message,omitempty"`
	AppliedAt  *time.Time `json:"appliedAt,omitempty"`
	// HealthMessage says why Health is not Current.
	HealthMessage string `json:"healthMessage,omitempty"`
	// Drift tells of changes by others that were found and healed.
	Drift *Drift `json:"drift,omitempty"`
}

// Drift counts how often an object was found changed and healed; Manager is the field manager that was seen to have changed it last.
type Drift struct {
	Count   int        `json:"count"`
	LastAt  *time.Time `json:"lastAt,omitempty"`
	Manager string     `json:"manager,omitempty"`
}

// SetSync is the state of one set over all its clusters. It stays readable by uid after its set is gone until nothing is left.
type SetSync struct {
	Metadata
	Status SetSyncStatus `json:"status"`
}

// SetSyncStatus counts clusters. Deleted says that the set's document is gone.
type SetSyncStatus struct {
	SetKind     string       `json:"setKind"`
	Deleted     bool         `json:"deleted,omitempty"`
	Generation  int64        `json:"generation"`
	Targets     int          `json:"targets"`
	Applied     int          `json:"applied"`
	Pending     int          `json:"pending"`
	Failed      int          `json:"failed"`
	Unreachable int          `json:"unreachable"`
	Suspended   int          `json:"suspended"`
	Held        int          `json:"held"`
	Health      HealthCounts `json:"health"`
	// MissingRefs are clusters that a syncset names and that are not registered.
	MissingRefs []string `json:"missingRefs,omitempty"`
	// Failures are the most frequent ones, at most 10, the most frequent first.
	Failures        []FailureGroup   `json:"failures,omitempty"`
	PendingDeletion *PendingDeletion `json:"pendingDeletion,omitempty"`
	CountedAt       time.Time        `json:"countedAt"`
}

// HealthCounts are numbers of clusters by the health of the set's objects there.
type HealthCounts struct {
	Current    int `json:"current"`
	InProgress int `json:"inProgress"`
	Failed     int `json:"failed"`
	Unknown    int `json:"unknown"`
}

// FailureGroup is a failure message with the number of clusters that show it, and the first of them as "namespace/name".
type FailureGroup struct {
	Message  string   `json:"message"`
	Count    int      `json:"count"`
	Clusters []string `json:"clusters"`
}

// PendingDeletion is what waits for a confirmation. Hash names exactly this: set, generation, clusters and identities.
type PendingDeletion struct {
	Clusters int    `json:"clusters"`
	Objects  int    `json:"objects"`
	Hash     string `json:"hash"`
}

// HashRequest is the body of confirm and reject.
type HashRequest struct {
	Hash string `json:"hash"`
}
