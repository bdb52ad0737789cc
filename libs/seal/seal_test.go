package seal_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/seal"
)

var place = seal.Ref{Installation: "i", Schema: "clusters", Table: "kubeconfigs", UID: "u", Field: "kubeconfig"}

func parse(t *testing.T, keys ...string) *seal.Keys {
	t.Helper()
	set, err := seal.Parse(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestASealedValueOpensAtItsPlaceOnly(t *testing.T) {
	t.Parallel()
	keys := parse(t, seal.Generate())
	id, sealed, err := keys.Seal(place, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the sealed value shows the plaintext")
	}
	if got, err := keys.Open(place, id, sealed); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
	elsewhere := map[string]seal.Ref{
		"another installation": {"j", "clusters", "kubeconfigs", "u", "kubeconfig"},
		"another schema":       {"i", "reconciler", "kubeconfigs", "u", "kubeconfig"},
		"another table":        {"i", "clusters", "secrets", "u", "kubeconfig"},
		"another object":       {"i", "clusters", "kubeconfigs", "v", "kubeconfig"},
		"another field":        {"i", "clusters", "kubeconfigs", "u", "token"},
		"shifted borders":      {"i", "clusters", "kubeconfigsu", "", "kubeconfig"},
	}
	for name, ref := range elsewhere {
		if _, err := keys.Open(ref, id, sealed); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := keys.Open(place, id, sealed); err == nil {
		t.Error("a changed value opened")
	}
}

func TestTheNewestKeySealsAndOlderOnesStillOpen(t *testing.T) {
	t.Parallel()
	older, newer := seal.Generate(), seal.Generate()
	before, after := parse(t, older), parse(t, newer, older)
	oldID, sealed, err := before.Seal(place, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := after.Open(place, oldID, sealed); err != nil || string(got) != "secret" {
		t.Errorf("after rotation: Open = %q, %v", got, err)
	}
	newID, _, err := after.Seal(place, []byte("secret"))
	if err != nil || newID == oldID || newID != after.Newest() || !after.Has(oldID) || before.Has(newID) {
		t.Errorf("ids: old %q, new %q, newest %q, %v", oldID, newID, after.Newest(), err)
	}
}

func TestAMissingKeyIsNamed(t *testing.T) {
	t.Parallel()
	keys := parse(t, seal.Generate())
	id, sealed, err := keys.Seal(place, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parse(t, seal.Generate()).Open(place, id, sealed)
	if err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "SEAL_KEYS") {
		t.Errorf("Open = %v, want the key %q and SEAL_KEYS named", err, id)
	}
}

func TestDigestsTellEqualValuesOfOnePlaceOnly(t *testing.T) {
	t.Parallel()
	older, newer := seal.Generate(), seal.Generate()
	before, after := parse(t, older), parse(t, newer, older)
	digest := before.Digest(place, []byte("a"))
	other := place
	other.UID = "v"
	for name, got := range map[string]bool{
		"same value":            before.Digest(place, []byte("a")) == digest,
		"after rotation":        after.Matches(place, digest, []byte("a")),
		"another value":         !after.Matches(place, digest, []byte("b")),
		"another object":        before.Digest(other, []byte("a")) != digest,
		"unknown key":           !parse(t, seal.Generate()).Matches(place, digest, []byte("a")),
		"new key, other digest": after.Digest(place, []byte("a")) != digest,
	} {
		if !got {
			t.Error(name)
		}
	}
}

func TestParseSaysWhatIsWrongWithoutShowingAKey(t *testing.T) {
	t.Parallel()
	good := seal.Generate()
	id, secret, _ := strings.Cut(good, ":")
	for name, keys := range map[string]string{
		"empty":      " , ",
		"no id":      secret,
		"bad id":     "a/b:" + secret,
		"short":      id + ":" + secret[:20],
		"not base64": id + ":" + strings.Repeat("!", 44),
		"twice":      good + "," + good,
	} {
		_, err := seal.Parse(keys)
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want an invalid error", name, err)
		} else if strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: the message shows the key: %v", name, err)
		}
	}
	if _, err := seal.Parse(good + "\n" + seal.Generate() + " "); err != nil {
		t.Errorf("lines: %v", err)
	}
}
