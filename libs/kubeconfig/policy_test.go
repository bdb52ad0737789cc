package kubeconfig_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/kubeconfig"
)

func prefixes(t *testing.T, s string) []netip.Prefix {
	t.Helper()
	list, err := kubeconfig.ParseCIDRs(s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAddressesArePermittedAsThePolicySays(t *testing.T) {
	t.Parallel()
	denied := kubeconfig.Policy{DenyCIDRs: prefixes(t, "10.0.0.0/8, 2001:db8::/32 ::ffff:192.168.0.0/112,203.0.113.7")}
	loopback := kubeconfig.Policy{AllowLoopback: true}
	both := kubeconfig.Policy{AllowLoopback: true, DenyCIDRs: prefixes(t, "127.0.0.0/8")}
	for _, tc := range []struct {
		policy kubeconfig.Policy
		addr   string
		ok     bool
	}{
		{kubeconfig.Policy{}, "93.184.216.34", true},
		{kubeconfig.Policy{}, "10.1.2.3", true},
		{kubeconfig.Policy{}, "2606:2800:220:1::1", true},
		{kubeconfig.Policy{}, "127.0.0.1", false},
		{kubeconfig.Policy{}, "::1", false},
		{kubeconfig.Policy{}, "::ffff:127.0.0.1", false},
		{kubeconfig.Policy{}, "169.254.169.254", false},
		{kubeconfig.Policy{}, "::ffff:169.254.169.254", false},
		{kubeconfig.Policy{}, "64:ff9b::a9fe:a9fe", false},
		{kubeconfig.Policy{}, "2002:a9fe:a9fe::1", false},
		{kubeconfig.Policy{}, "fd00:ec2::254", false},
		{kubeconfig.Policy{}, "fe80::1%eth0", false},
		{kubeconfig.Policy{}, "0.0.0.0", false},
		{kubeconfig.Policy{}, "0.1.2.3", false},
		{kubeconfig.Policy{}, "::", false},
		{kubeconfig.Policy{}, "224.0.0.1", false},
		{kubeconfig.Policy{}, "ff02::1", false},
		{kubeconfig.Policy{}, "255.255.255.255", false},
		{loopback, "127.0.0.1", true},
		{loopback, "::1", true},
		{loopback, "0.0.0.0", false},
		{both, "127.0.0.1", false},
		{denied, "10.1.2.3", false},
		{denied, "::ffff:10.1.2.3", false},
		{denied, "64:ff9b::a01:203", false},
		{denied, "11.1.2.3", true},
		{denied, "2001:db8::1", false},
		{denied, "192.168.4.4", false},
		{denied, "203.0.113.7", false},
		{denied, "203.0.113.8", true},
	} {
		err := tc.policy.Check(netip.MustParseAddr(tc.addr))
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, kubeconfig.ErrAddressDenied) {
			t.Errorf("%+v: %s: %v, want permitted: %v", tc.policy, tc.addr, err, tc.ok)
		}
	}
}

func TestParseCIDRsRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"10.0.0.0/33", "example.com", "10.0.0.0/8;11.0.0.0/8"} {
		if _, err := kubeconfig.ParseCIDRs(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v, want an invalid error", s, err)
		}
	}
}

// serve runs a TLS server and returns a kubeconfig for it.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text := with("certificate-authority-data: "+base64.StdEncoding.EncodeToString(authority), "")
	return strings.Replace(text, "https://api.example.com:6443", server.URL, 1)
}

// get requests / with the configuration of a kubeconfig.
func get(t *testing.T, text string, p kubeconfig.Policy) (*http.Response, error) {
	t.Helper()
	config, err := kubeconfig.Load(text, p)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err == nil {
		t.Cleanup(func() { _ = response.Body.Close() })
	}
	return response, err
}

func TestRequestsCarryTheCredentialToPermittedAddressesOnly(t *testing.T) {
	t.Parallel()
	authorization := make(chan string, 1)
	text := serve(t, func(_ http.ResponseWriter, r *http.Request) { authorization <- r.Header.Get("Authorization") })
	response, err := get(t, text, kubeconfig.Policy{AllowLoopback: true})
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", response, err)
	}
	if got := <-authorization; got != "Bearer s3cr3t" {
		t.Errorf("Authorization = %q", got)
	}
	if _, err := get(t, text, kubeconfig.Policy{}); !errors.Is(err, kubeconfig.ErrAddressDenied) {
		t.Errorf("a loopback address: %v, want ErrAddressDenied", err)
	}
	named := strings.Replace(text, "127.0.0.1", "localhost", 1)
	if _, err := get(t, named, kubeconfig.Policy{}); !errors.Is(err, kubeconfig.ErrAddressDenied) {
		t.Errorf("a name that resolves to a loopback address: %v, want ErrAddressDenied", err)
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	text := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("the redirect was followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if _, err := get(t, text, kubeconfig.Policy{AllowLoopback: true}); !errors.Is(err, kubeconfig.ErrRedirect) {
		t.Errorf("%v, want ErrRedirect", err)
	}
}

func TestTheEnvironmentsProxiesAreIgnored(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	text := serve(t, func(http.ResponseWriter, *http.Request) {})
	config, err := kubeconfig.Load(text, kubeconfig.Policy{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	// net/http never proxies loopback addresses, so the function itself is asked about an outer one.
	request := httptest.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	if chosen, err := config.Proxy(request); chosen != nil || err != nil {
		t.Errorf("proxy %v, %v", chosen, err)
	}
	if _, err := get(t, text, kubeconfig.Policy{AllowLoopback: true}); err != nil {
		t.Error(err)
	}
}
