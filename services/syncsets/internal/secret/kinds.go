package secret

import (
	"bytes"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/syncsets/syncsets/libs/errs"
)

// defaultType is the type of a secret that states none.
const defaultType = string(corev1.SecretTypeOpaque)

// checkAnnotations returns the faults of the annotations that a type demands, as Kubernetes checks them.
func checkAnnotations(kind string, annotations map[string]string) []errs.Field {
	if corev1.SecretType(kind) == corev1.SecretTypeServiceAccountToken && annotations[corev1.ServiceAccountNameKey] == "" {
		return []errs.Field{{Path: entry("annotations", corev1.ServiceAccountNameKey), Message: "is required by type " + kind}}
	}
	return nil
}

// checkValues returns the faults of the values that a type demands, as Kubernetes checks them. Types that Kubernetes does not know, and
// those it does not check (bootstrap tokens), demand nothing.
func checkValues(kind string, v values) []errs.Field {
	switch corev1.SecretType(kind) {
	case corev1.SecretTypeServiceAccountToken:
		return notCopied(kind, v)
	case corev1.SecretTypeDockercfg:
		return wantJSON(kind, v, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		return wantJSON(kind, v, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		return wantOne(kind, v, corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
	case corev1.SecretTypeSSHAuth:
		if len(v[corev1.SSHAuthPrivateKey]) == 0 {
			return []errs.Field{{Path: entry("data", corev1.SSHAuthPrivateKey), Message: "is required by type " + kind}}
		}
	case corev1.SecretTypeTLS:
		return wantAll(kind, v, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return nil
}

// notCopied refuses values that every target's token controller writes itself: it would overwrite ours, or delete the Secret because they
// are for another cluster's service account.
func notCopied(kind string, v values) []errs.Field {
	var faults []errs.Field
	for _, key := range []string{corev1.ServiceAccountTokenKey, corev1.ServiceAccountRootCAKey, corev1.ServiceAccountNamespaceKey} {
		if _, there := v[key]; there {
			faults = append(faults, errs.Field{
				Path: entry("data", key), Message: "is written by each target itself in a secret of type " + kind + ": use Opaque to copy another cluster's",
			})
		}
	}
	return faults
}

func wantAll(kind string, v values, keys ...string) []errs.Field {
	var faults []errs.Field
	for _, key := range keys {
		if _, there := v[key]; !there {
			faults = append(faults, errs.Field{Path: entry("data", key), Message: "is required by type " + kind})
		}
	}
	return faults
}

func wantOne(kind string, v values, first, second string) []errs.Field {
	if len(wantAll(kind, v, first)) == 0 || len(wantAll(kind, v, second)) == 0 {
		return nil
	}
	return []errs.Field{{Path: "data", Message: first + " or " + second + " is required by type " + kind}}
}

// wantJSON demands a JSON object. What is wrong with it is not said: a parser's message shows a piece of the value.
func wantJSON(kind string, v values, key string) []errs.Field {
	faults := wantAll(kind, v, key)
	if len(faults) == 0 && (!json.Valid(v[key]) || !bytes.HasPrefix(bytes.TrimSpace(v[key]), []byte("{"))) {
		faults = append(faults, errs.Field{Path: entry("data", key), Message: "must be a JSON object, as type " + kind + " requires"})
	}
	return faults
}
