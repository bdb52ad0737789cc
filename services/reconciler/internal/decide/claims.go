package decide

import (
	"slices"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// claims says which set owns each identity that any set of the cluster wants.
type claims struct {
	owner  map[inventory.Identity]string // set uid
	opaque bool                          // some set wants an identity that cannot be told: nobody else's object may go
}

// claim works out the owners: the incumbent if it still wants the object, else the first of its claimants.
func claim(in Input) claims {
	c := claims{owner: make(map[inventory.Identity]string, len(in.Inventory))}
	rows := rowsBySet(in.Inventory)
	incumbent := make(map[inventory.Identity]string, len(in.Inventory))
	for _, r := range in.Inventory {
		incumbent[r.Identity] = r.SetUID
	}
	for _, s := range byPrecedence(in.Sets) {
		wanted, opaque := s.claimed(rows[s.UID])
		c.opaque = c.opaque || opaque
		for _, id := range wanted {
			if _, taken := c.owner[id]; !taken || incumbent[id] == s.UID {
				c.owner[id] = s.UID
			}
		}
	}
	return c
}

// claimed returns the identities a set wants: what it renders; with an item that cannot be rendered, or suspended, what it has
// as well. Patches want nothing. opaque says that there may be more.
func (s Set) claimed(rows []inventory.Row) (wanted []inventory.Identity, opaque bool) {
	if s.Target == nil && !s.Suspended {
		return nil, false
	}
	keep := s.Suspended || s.Fault != ""
	opaque = s.Target != nil && s.Fault != ""
	for _, i := range s.Items {
		keep = keep || i.Fault != ""
		switch {
		case s.Target == nil || !i.claims():
		case i.Name == "" || i.Kind == "":
			opaque = true
		default:
			wanted = append(wanted, i.names()...)
		}
	}
	if keep {
		for _, r := range rows {
			wanted = append(wanted, r.Identity)
		}
	}
	return wanted, opaque
}

// names returns the identities that an item may have: while nobody knows whether its kind has namespaces, also that without one.
func (i Item) names() []inventory.Identity {
	if i.Resource != "" || i.Namespace == "" {
		return []inventory.Identity{i.Identity}
	}
	without := i.Identity
	without.Namespace = ""
	return []inventory.Identity{i.Identity, without}
}

// Rendered returns the identities of what the set wants on the cluster, as far as its text tells.
func (s Set) Rendered() []inventory.Identity {
	if s.Target == nil {
		return nil
	}
	ids := make([]inventory.Identity, 0, len(s.Items))
	for _, i := range s.Items {
		if i.claims() {
			ids = append(ids, i.names()...)
		}
	}
	return ids
}

// byPrecedence orders claimants of an object that nobody owns: selectorsyncsets before syncsets, then by name.
func byPrecedence(sets []Set) []Set {
	ordered := make([]Set, 0, len(sets))
	for _, first := range []bool{true, false} {
		for _, s := range sets {
			if (s.Resource == v1.ResourceSelectorSyncSets) == first {
				ordered = append(ordered, s)
			}
		}
	}
	return ordered
}

func rowsBySet(rows []inventory.Row) map[string][]inventory.Row {
	bySet := map[string][]inventory.Row{}
	for _, r := range rows {
		bySet[r.SetUID] = append(bySet[r.SetUID], r)
	}
	return bySet
}

// Sort puts sets into run order: syncsets, then selectorsyncsets, each by name.
func Sort(sets []Set) {
	slices.SortFunc(sets, compareRunOrder)
}
