// Package seal encrypts values at rest. A service has a set of keys of its own (SEAL_KEYS); the first, the newest, seals, all of them
// open. The id of the key is stored beside each value, and each value is bound to its place by associated data, so that a sealed
// value copied to another row, field or installation does not open.
package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/syncsets/syncsets/libs/errs"
)

// keySize is the size of a key in bytes, before base64.
const keySize = 32

// Ref is the place of a sealed value: its AEAD associated data.
type Ref struct {
	Installation, Schema, Table, UID, Field string
}

// bytes encodes the place without ambiguity: every part is preceded by its length.
func (r Ref) bytes() []byte {
	var b []byte
	for _, part := range []string{r.Installation, r.Schema, r.Table, r.UID, r.Field} {
		b = fmt.Appendf(b, "%d:%s,", len(part), part)
	}
	return b
}

// Keys is a set of keys, newest first. It is safe for concurrent use.
type Keys struct {
	newest string
	byID   map[string]key
}

// key is one key: the two keys derived from it, for sealing and for digests.
type key struct {
	aead tink.AEAD
	mac  []byte
}

// idSyntax is what a key id may look like; it is stored beside values and shown in messages.
var idSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Generate returns a new key as Parse reads it: "<id>:<base64 of 32 random bytes>".
func Generate() string {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	sum := sha256.Sum256(append([]byte("syncsets seal key id "), secret...))
	return "k" + hex.EncodeToString(sum[:4]) + ":" + base64.StdEncoding.EncodeToString(secret)
}

// Parse reads a key set: keys as Generate makes them, newest first, separated by commas or white space. The error is errs.Invalid and
// shows no part of a key.
func Parse(keys string) (*Keys, error) {
	set := &Keys{byID: map[string]key{}}
	for i, item := range strings.FieldsFunc(keys, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		id, encoded, ok := strings.Cut(item, ":")
		if !ok || !idSyntax.MatchString(id) {
			return nil, errs.New(errs.Invalid, "seal key %d is not of the form <id>:<base64 of %d bytes>", i+1, keySize)
		}
		if _, taken := set.byID[id]; taken {
			return nil, errs.New(errs.Invalid, "seal key id %q occurs twice", id)
		}
		k, err := newKey(encoded)
		if err != nil {
			return nil, errs.New(errs.Invalid, "seal key %q is not the base64 of %d bytes", id, keySize)
		}
		set.byID[id] = k
		if set.newest == "" {
			set.newest = id
		}
	}
	if set.newest == "" {
		return nil, errs.New(errs.Invalid, "the seal key set is empty")
	}
	return set, nil
}

// newKey derives the two keys of one encoded key.
func newKey(encoded string) (key, error) {
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) != keySize {
		return key{}, fmt.Errorf("decode key: %d bytes", len(secret))
	}
	sealing, err := hkdf.Key(sha256.New, secret, nil, "syncsets seal", keySize)
	if err != nil {
		return key{}, fmt.Errorf("derive sealing key: %w", err)
	}
	mac, err := hkdf.Key(sha256.New, secret, nil, "syncsets digest", keySize)
	if err != nil {
		return key{}, fmt.Errorf("derive digest key: %w", err)
	}
	aead, err := subtle.NewXChaCha20Poly1305(sealing)
	if err != nil {
		return key{}, fmt.Errorf("make aead: %w", err)
	}
	return key{aead: aead, mac: mac}, nil
}

// Newest returns the id of the key that Seal uses.
func (k *Keys) Newest() string { return k.newest }

// Has reports whether the set holds the key. A service that finds a stored value of a key it does not hold must not start.
func (k *Keys) Has(keyID string) bool {
	_, ok := k.byID[keyID]
	return ok
}

// Seal encrypts plaintext for its place with the newest key.
func (k *Keys) Seal(ref Ref, plaintext []byte) (keyID string, sealed []byte, err error) {
	sealed, err = k.byID[k.newest].aead.Encrypt(plaintext, ref.bytes())
	if err != nil {
		return "", nil, fmt.Errorf("seal %s: %w", ref.Field, err)
	}
	return k.newest, sealed, nil
}

// Open decrypts what Seal made with the key keyID for the same place. The error names a key that is missing, and is the same for a
// changed value and one of another place.
func (k *Keys) Open(ref Ref, keyID string, sealed []byte) ([]byte, error) {
	one, ok := k.byID[keyID]
	if !ok {
		return nil, errs.New(errs.Internal, "seal key %q is missing from SEAL_KEYS", keyID)
	}
	plaintext, err := one.aead.Decrypt(sealed, ref.bytes())
	if err != nil {
		return nil, fmt.Errorf("open %s.%s.%s of %s with key %q: it was sealed for another place, with another key, or was changed",
			ref.Schema, ref.Table, ref.Field, ref.UID, keyID)
	}
	return plaintext, nil
}

// Digest returns "<key id>:<hex HMAC-SHA-256>" of plaintext and its place under the newest key: equal values of one place are seen to
// be equal without being readable or comparable with another place's.
func (k *Keys) Digest(ref Ref, plaintext []byte) string {
	return k.byID[k.newest].digest(k.newest, ref, plaintext)
}

// Matches reports whether digest was made from plaintext for the same place, by any key of the set.
func (k *Keys) Matches(ref Ref, digest string, plaintext []byte) bool {
	id, _, _ := strings.Cut(digest, ":")
	one, ok := k.byID[id]
	return ok && hmac.Equal([]byte(digest), []byte(one.digest(id, ref, plaintext)))
}

func (k key) digest(id string, ref Ref, plaintext []byte) string {
	mac := hmac.New(sha256.New, k.mac)
	mac.Write(ref.bytes())
	mac.Write(plaintext)
	return id + ":" + hex.EncodeToString(mac.Sum(nil))
}
