package devstack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys are the certificate authority of one control plane and the administrator's certificate, PEM.
type keys struct{ authority, admin, adminKey []byte }

// loadKeys reads the keys of a directory that was used before, or makes them.
func loadKeys(path string) (*keys, error) {
	if _, err := os.Stat(filepath.Join(path, "admin.key")); err != nil {
		if err := makeKeys(path); err != nil {
			return nil, err
		}
	}
	var k keys
	var all error
	for name, into := range map[string]*[]byte{"ca.crt": &k.authority, "admin.crt": &k.admin, "admin.key": &k.adminKey} {
		text, err := os.ReadFile(filepath.Join(path, name))
		*into, all = text, errors.Join(all, err)
	}
	return &k, all
}

// makeKeys writes a certificate authority, the API server's certificate for loopback, the administrator's (group system:masters) and
// the key for service account tokens. admin.key comes last: it marks a complete set.
func makeKeys(path string) error {
	authority, err := newIssuer()
	if err != nil {
		return err
	}
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	accountPEM, err := keyPEM(account)
	if err != nil {
		return err
	}
	serving := &x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	admin := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return errors.Join(
		os.WriteFile(filepath.Join(path, "ca.crt"), certificatePEM(authority.der), 0o600),
		os.WriteFile(filepath.Join(path, "sa.key"), accountPEM, 0o600),
		authority.issue(path, "apiserver", serving),
		authority.issue(path, "admin", admin),
	)
}

// An issuer signs the certificates of one control plane.
type issuer struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
}

func newIssuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	wanted := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "devstack"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, wanted, wanted, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &issuer{certificate: certificate, der: der, key: key}, err
}

// issue writes name.crt and name.key.
func (i *issuer) issue(path, name string, wanted *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key of %s: %w", name, err)
	}
	wanted.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return fmt.Errorf("draw a serial number: %w", err)
	}
	wanted.NotBefore, wanted.NotAfter = i.certificate.NotBefore, i.certificate.NotAfter
	wanted.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, wanted, i.certificate, key.Public(), i.key)
	if err != nil {
		return fmt.Errorf("issue %s: %w", name, err)
	}
	private, err := keyPEM(key)
	return errors.Join(err,
		os.WriteFile(filepath.Join(path, name+".crt"), certificatePEM(der), 0o600),
		os.WriteFile(filepath.Join(path, name+".key"), private, 0o600))
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// kubeconfig is the administrator's for the server, with everything embedded.
func (k *keys) kubeconfig(server string) string {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: devstack, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: admin, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: devstack, context: {cluster: devstack, user: admin}}]
current-context: devstack
`, server, encode(k.authority), encode(k.admin), encode(k.adminKey))
}
