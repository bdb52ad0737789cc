package kubeconfig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// target is the cluster and the user of the current context.
type target struct {
	server, serverName           string
	insecure, disableCompression bool
	authority, certificate, key  []byte
	token, username, password    string
	faults                       []string // what could not be read
}

// current picks the current context, or says what is missing.
func (f file) current() (*target, string) {
	if f.currentContext == "" {
		return nil, "it has no current context"
	}
	context, ok := f.contexts[f.currentContext]
	if !ok {
		return nil, fmt.Sprintf("its current context %.100q does not exist", f.currentContext)
	}
	cluster, ok := f.clusters[context.text("cluster")]
	if !ok {
		return nil, fmt.Sprintf("the cluster %.100q of its current context does not exist", context.text("cluster"))
	}
	user, ok := f.users[context.text("user")]
	if !ok {
		return nil, fmt.Sprintf("the user %.100q of its current context does not exist", context.text("user"))
	}
	return newTarget(cluster, user), ""
}

// text returns a scalar, "" when it is absent or no scalar.
func (m mapping) text(key string) string {
	s, _ := m[key].(string)
	return s
}

// newTarget reads the fields that have an effect.
func newTarget(cluster, user mapping) *target {
	t := &target{
		server: cluster.text("server"), serverName: cluster.text("tls-server-name"),
		token: user.text("token"), username: user.text("username"), password: user.text("password"),
	}
	t.insecure = t.flag(cluster, "insecure-skip-tls-verify")
	t.disableCompression = t.flag(cluster, "disable-compression")
	t.authority = t.data(cluster, "certificate-authority-data")
	t.certificate = t.data(user, "client-certificate-data")
	t.key = t.data(user, "client-key-data")
	return t
}

// flag reads a boolean, with YAML's spellings of it.
func (t *target) flag(m mapping, key string) bool {
	if m[key] == nil {
		return false
	}
	set, err := strconv.ParseBool(strings.ToLower(m.text(key)))
	if err != nil {
		t.faults = append(t.faults, key+" is neither true nor false")
	}
	return set
}

// data reads base64.
func (t *target) data(m mapping, key string) []byte {
	decoded, err := base64.StdEncoding.DecodeString(m.text(key))
	if err != nil {
		t.faults = append(t.faults, key+" is not base64")
	}
	return decoded
}

// fault says why no client can be made of the target; "" when one can.
func (t *target) fault() string {
	switch {
	case len(t.faults) > 0:
		return t.faults[0]
	case t.server == "":
		return "the cluster of its current context has no server"
	case t.insecure && len(t.authority) > 0:
		return "certificate-authority-data and insecure-skip-tls-verify exclude each other"
	case len(t.authority) > 0 && !x509.NewCertPool().AppendCertsFromPEM(t.authority):
		return "certificate-authority-data holds no certificate"
	case t.token != "" && t.username != "":
		return "token and username exclude each other"
	case strings.ContainsFunc(t.token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "token holds characters that no token has"
	}
	return t.pairFault()
}

// pairFault checks the client certificate with its key.
func (t *target) pairFault() string {
	if len(t.certificate) == 0 && len(t.key) == 0 {
		return ""
	}
	if len(t.certificate) == 0 || len(t.key) == 0 {
		return "client-certificate-data and client-key-data need each other"
	}
	if _, err := tls.X509KeyPair(t.certificate, t.key); err != nil {
		return "client-certificate-data and client-key-data are no pair of certificate and key"
	}
	return ""
}

// expiresAt returns the end of the client certificate or of the token, whichever is earlier.
func (t *target) expiresAt() *time.Time {
	var earliest *time.Time
	for _, end := range []time.Time{certificateEnd(t.certificate, t.key), tokenEnd(t.token)} {
		if !end.IsZero() && (earliest == nil || end.Before(*earliest)) {
			earliest = &end
		}
	}
	return earliest
}

func certificateEnd(certificate, key []byte) time.Time {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil || pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter.UTC()
}

// tokenEnd reads the exp claim of a JSON Web Token; other tokens do not tell.
func tokenEnd(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp json.Number `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return time.Time{}
	}
	seconds, err := claims.Exp.Float64()
	if err != nil || seconds <= 0 || seconds > 253402300799 { // the year 9999, the last that JSON times can show
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// config makes the client configuration, without the parts that come from the policy.
func (t *target) config() *rest.Config {
	return &rest.Config{
		Host:               t.server,
		BearerToken:        t.token,
		Username:           t.username,
		Password:           t.password,
		DisableCompression: t.disableCompression,
		TLSClientConfig: rest.TLSClientConfig{
			Insecure: t.insecure, ServerName: t.serverName,
			CAData: t.authority, CertData: t.certificate, KeyData: t.key,
		},
	}
}
