package work

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// run is one pass over one cluster.
type run struct {
	pool     *Pool
	claim    Claim
	started  time.Time
	recorder *Recorder
	snap     Snapshot
	decoded  map[setKey]*decoded // known sets, kept from being evicted meanwhile
	target   Target
	targetID string
	version  string // of Kubernetes
	in       decide.Input
	plan     decide.Plan
	outcomes outcomes
	drifts   int // objects found changed by others and written again
}

// RunCluster claims a cluster, brings it in step and settles its row. A cluster that is not to be had is left alone.
func (p *Pool) RunCluster(ctx context.Context, clusterUID string) {
	asked := time.Now()
	claim, err := p.config.Store.Claim(ctx, clusterUID, p.config.Holder, p.config.Lease)
	if err != nil {
		if !errs.Is(err, errs.NotFound) {
			p.config.Log.WarnContext(ctx, "could not claim a cluster", "cluster_uid", clusterUID, "error", err)
		}
		return
	}
	ctx, span := p.span(ctx, claim)
	defer span.End()
	if claim.Takeover {
		p.meters.takeover.Add(ctx, 1)
	}
	r := &run{
		pool: p, claim: claim, started: asked, recorder: newRecorder(claim, p.config.Holder), decoded: map[setKey]*decoded{},
		outcomes: newOutcomes(),
	}
	leased, lease := p.keep(WithRecorder(ctx, r.recorder), claim, asked)
	settlement, err := r.execute(leased)
	lease.release()
	r.settle(ctx, span, settlement, err)
}

// span starts the run's span: under the message's trace when it has one cause, else a root of its own with links to its causes.
func (p *Pool) span(ctx context.Context, c Claim) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("syncsets.cluster.uid", c.ClusterUID), attribute.String("messaging.system", "rabbitmq"),
			attribute.String("messaging.operation.name", "process"), attribute.String("messaging.destination.name", Queue)),
	}
	if len(c.Causes) > 1 {
		options = append(options, trace.WithNewRoot())
		for _, cause := range c.Causes {
			from := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": cause})
			options = append(options, trace.WithLinks(trace.LinkFromContext(from)))
		}
	}
	return p.tracer.Start(ctx, "process "+Queue, options...)
}

// execute does everything up to, and not including, the settlement. Its error says why the run ended early; what it did until then
// is in the settlement.
func (r *run) execute(ctx context.Context) (Settlement, error) {
	if err := r.load(ctx); err != nil {
		return r.cutShort(err), err
	}
	r.in = r.input()
	if r.in.Paused || r.in.Suspended {
		r.plan = decide.Decide(r.in)
		return r.idle(syncstatus.Of(r.in, r.plan, syncstatus.Outcomes{}, rand.Float64)), nil
	}
	err := r.bringInStep(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var unreachable *Unreachable
	switch {
	case errors.As(err, &unreachable):
		return r.unreachable(unreachable), nil
	case err != nil:
		return r.cutShort(err), err
	}
	return r.done(), nil
}

// load reads what the cluster should have and has.
func (r *run) load(ctx context.Context) (err error) {
	r.snap, err = r.pool.config.Store.Load(ctx, r.claim, func(uid string, generation int64) bool {
		k := setKey{uid, generation}
		d, known := r.pool.sets.get(k)
		if known {
			r.decoded[k] = d
		}
		return known
	})
	return err
}

// bringInStep observes, decides and acts.
func (r *run) bringInStep(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.mapKinds(ctx, &r.in); err != nil {
		return err
	}
	if err := r.observe(ctx, &r.in); err != nil {
		return err
	}
	plan := decide.Decide(r.in)
	if intents := intents(plan); len(intents) > 0 {
		if err := r.pool.config.Store.WriteIntents(ctx, r.claim, r.snap.Want, r.targetID, intents); err != nil {
			return err
		}
	}
	r.plan = plan
	if err := r.applyAll(ctx); err != nil {
		return err
	}
	if err := r.askHealth(ctx); err != nil {
		return err
	}
	return r.removeAll(ctx)
}

// intents are the rows to have before anything is sent, of however an object is written. What was there and is left untouched has one
// too: it becomes the set's in this run.
func intents(plan decide.Plan) []inventory.Row {
	var rows []inventory.Row
	for _, s := range plan.Sets {
		for _, step := range s.Steps {
			if step.Intent {
				rows = append(rows, step.Row)
			}
		}
	}
	return rows
}

// connect opens the connection and makes sure that the right target is behind it.
func (r *run) connect(ctx context.Context) (err error) {
	c := r.snap.Credential
	if c.Version == 0 || c.Version < c.Wanted {
		return &Unreachable{Reason: v1.ReasonWaitingForKubeconfig, Message: "the kubeconfig has not arrived yet"}
	}
	open := func() (string, error) {
		text, err := r.pool.config.Unseal(r.claim.ClusterUID, c)
		if err != nil {
			err = &Unreachable{Reason: v1.ReasonInvalidKubeconfig, Message: "the stored kubeconfig cannot be opened", Cause: err}
		}
		return text, err
	}
	if r.target, err = r.pool.config.Targets.Connect(ctx, r.claim.ClusterUID, c.Version, open); err != nil {
		return err
	}
	if r.targetID, r.version, err = r.target.Identify(ctx); err != nil {
		return err
	}
	switch {
	case r.snap.TargetID == r.targetID:
		return nil
	case r.snap.TargetID != "":
		return &Unreachable{Reason: v1.ReasonIdentityChanged, Message: "another cluster answers: kube-system has uid " + r.targetID +
			" instead of " + r.snap.TargetID}
	}
	other, err := r.pool.config.Store.RecordTarget(ctx, r.claim, r.targetID, r.pool.config.SharedTargets)
	if err == nil && other != "" {
		err = &Unreachable{Reason: v1.ReasonDuplicateTarget, Message: "the target is already registered as " + other}
	}
	return err
}

// settle writes the settlement, whatever became of the run: the row is never left for others to find out.
func (r *run) settle(ctx context.Context, span trace.Span, s Settlement, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	s.LastRun = r.status(span)
	due, err := r.pool.config.Store.Settle(ctx, s)
	log := r.pool.config.Log.With("cluster_uid", r.claim.ClusterUID, "fence", r.claim.Fence)
	result := "settled"
	switch {
	case errs.Is(err, errs.Conflict):
		result = "lease_lost"
		r.pool.meters.leaseLost.Add(ctx, 1)
		log.WarnContext(ctx, "lease lost: what the run found out was refused", "error", err)
	case err != nil:
		result = "failed"
		log.ErrorContext(ctx, "could not settle a run; another follows when its lease has ended", "error", err)
	case errors.Is(cause, ErrMovedOn):
		result = "moved_on"
	case cause != nil:
		result = "handed_back"
		log.InfoContext(ctx, "run handed back", "cause", cause)
	}
	if err != nil {
		span.SetStatus(codes.Error, result)
	}
	r.pool.meters.ran(ctx, result, r.recorder.Requests(), time.Since(r.started))
	if err == nil {
		r.pool.meters.drifts.Add(ctx, int64(r.drifts))
	}
	if due && err == nil {
		r.pool.config.Wake()
	}
}
