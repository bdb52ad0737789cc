package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncsets/syncsets/libs/config"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// The roles of a process.
const (
	rolePlan     = "plan"
	roleDispatch = "dispatch"
	roleWork     = "work"
	roleAPI      = "api"
)

var allRoles = []string{rolePlan, roleDispatch, roleWork, roleAPI}

// connections bounds the pool: runs use one for moments only.
const connections = 24

// settings are the service's own.
type settings struct {
	clustersURL, syncsetsURL string
	roles                    []string
	workers                  int
	reapply, verify          time.Duration
	budget                   postgres.Budget
	targets                  kubeconfig.Policy
	sharedTargets            bool
}

func (s *settings) declare(set *config.Set) {
	set.URL(&s.clustersURL, "CLUSTERS_INTERNAL_URL", "", "the internal listener of the clusters service", config.Required())
	set.URL(&s.syncsetsURL, "SYNCSETS_INTERNAL_URL", "", "the internal listener of the syncsets service", config.Required())
	set.Func("ROLES", strings.Join(allRoles, ","), "what this process does: any of plan, dispatch, work, api", s.parseRoles)
	set.Int(&s.workers, "WORKERS", 16, 1, "clusters worked on at once")
	set.Duration(&s.reapply, "REAPPLY_INTERVAL", 2*time.Hour, "how often everything is applied again")
	set.Duration(&s.verify, "VERIFY_INTERVAL", 15*time.Minute, "how often what was applied is compared with the target")
	set.Func("DELETION_BUDGET", "5,10%", "clusters that may lose objects of a set within an hour unasked: a number, and a share of its clusters",
		func(text string) (err error) {
			s.budget, err = postgres.ParseBudget(text)
			return err
		})
	set.Func("TARGET_DENY_CIDRS", "", "addresses that are never dialled, besides the usual ones", func(text string) (err error) {
		s.targets.DenyCIDRs, err = kubeconfig.ParseCIDRs(text)
		return err
	})
	set.Bool(&s.targets.AllowLoopback, "ALLOW_LOOPBACK_TARGETS", false, "dial targets on this machine")
	set.Bool(&s.targets.AllowInsecure, "ALLOW_INSECURE_TARGETS", false, "accept insecure-skip-tls-verify")
	set.Func("SHARED_TARGETS", "deny", "deny, or allow two cluster documents to have one target (for tests)", func(text string) error {
		s.sharedTargets = text == "allow"
		return nil
	}, config.OneOf("deny", "allow"))
}

func (s *settings) parseRoles(text string) error {
	s.roles = nil
	for role := range strings.SplitSeq(text, ",") {
		role = strings.TrimSpace(role)
		if !slices.Contains(allRoles, role) {
			return fmt.Errorf("%q is not a role; there are %s", role, strings.Join(allRoles, ", "))
		}
		s.roles = append(s.roles, role)
	}
	return nil
}

func (s *settings) has(role string) bool { return slices.Contains(s.roles, role) }
