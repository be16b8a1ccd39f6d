package fetch

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// refusePrivate refuses a connection to an address that is not of the public Internet. It looks at the address that is
// being connected to: what a name meant when it was looked up before may have changed.
func refusePrivate(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Kind: Refused, Err: fmt.Errorf("%s is no address", address)}
	}
	if !public(to.Addr()) {
		return &Error{Kind: Refused, Err: fmt.Errorf("%s is an address of a private network; see allow_private_urls", to.Addr())}
	}
	return nil
}

// public says whether an address is one of the public Internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// special are blocks that no server of the public Internet has, beyond those that net/netip knows
// (https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry), and those that carry an
// IPv4 address inside.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // behind a provider's translation
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4 inside, deprecated
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: IPv4 inside
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: IPv4 inside
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
}
