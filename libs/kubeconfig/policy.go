package kubeconfig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/syncsets/syncsets/libs/errs"
)

// Policy says which targets may be dialled. The zero value is the strict one.
type Policy struct {
	// AllowLoopback permits 127.0.0.0/8 and ::1.
	AllowLoopback bool
	// AllowInsecure permits insecure-skip-tls-verify.
	AllowInsecure bool
	// DenyCIDRs are refused besides what always is; they win over AllowLoopback.
	DenyCIDRs []netip.Prefix
}

// ParseCIDRs reads TARGET_DENY_CIDRS: prefixes or single addresses separated by commas or white space. The error is errs.Invalid.
func ParseCIDRs(s string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, item := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			addr, addrErr := netip.ParseAddr(item)
			if addrErr != nil {
				return nil, errs.New(errs.Invalid, "%q is neither a CIDR such as 10.0.0.0/8 nor an address", item)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		prefixes = append(prefixes, unmapPrefix(prefix).Masked())
	}
	return prefixes, nil
}

// unmapPrefix turns a prefix of IPv4-mapped IPv6 addresses into the IPv4 prefix that addresses are compared with.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// alwaysDenied lists what netip has no word for: "this network", broadcast, and the metadata services of clouds that are not link-local.
var alwaysDenied = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
}

// translated are the prefixes whose last or middle bytes are an IPv4 address that a gateway would connect to: NAT64 and 6to4.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// Check returns ErrAddressDenied, with the reason, when addr may not be dialled.
func (p Policy) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if reason := p.denied(addr); reason != "" {
		return fmt.Errorf("%w: %s is %s", ErrAddressDenied, addr, reason)
	}
	if inner, ok := embedded(addr); ok {
		if reason := p.denied(inner); reason != "" {
			return fmt.Errorf("%w: %s leads to %s, which is %s", ErrAddressDenied, addr, inner, reason)
		}
	}
	return nil
}

// denied says why addr is refused; "" when it is not.
func (p Policy) denied(addr netip.Addr) string {
	for _, prefix := range p.DenyCIDRs {
		if prefix.Contains(addr) {
			return "in TARGET_DENY_CIDRS"
		}
	}
	for _, prefix := range alwaysDenied {
		if prefix.Contains(addr) {
			return "reserved or a metadata service"
		}
	}
	switch {
	case !addr.IsValid() || addr.IsUnspecified():
		return "unspecified"
	case addr.IsLoopback() && !p.AllowLoopback:
		return "a loopback address"
	case addr.IsLinkLocalUnicast():
		return "link-local"
	case addr.IsMulticast():
		return "multicast"
	}
	return ""
}

// embedded returns the IPv4 address inside a NAT64 or 6to4 address.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// dialer checks every address after name resolution, at the moment it is connected to, so a name cannot change its mind in between.
func (p Policy) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:   10 * time.Second,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %q is no address", ErrAddressDenied, address)
			}
			return p.Check(addr.Addr())
		},
	}
}

// noProxy keeps the environment's proxies out.
func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// refuseRedirects fails requests that the server redirects: credentials go to the registered server only.
func refuseRedirects(next http.RoundTripper) http.RoundTripper { return redirectRefuser{next} }

type redirectRefuser struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t redirectRefuser) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		_ = response.Body.Close()
		return nil, fmt.Errorf("%w: the server answered %d", ErrRedirect, response.StatusCode)
	}
	return response, nil
}

// WrappedRoundTripper lets client-go find the transport below, to close its idle connections.
func (t redirectRefuser) WrappedRoundTripper() http.RoundTripper { return t.next }
