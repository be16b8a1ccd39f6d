package sdk

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
)

// ErrNotPublic is what PublicOnly refuses a connection with. It does not name the address: where somebody else chose the
// URL, they must not learn what its name means inside.
var ErrNotPublic = errors.New("the address is not one of the public internet")

// PublicOnly is for the field ControlContext of a net.Dialer that connects to where somebody else says, such as a URL in a
// message: it refuses all addresses but those of the public internet with ErrNotPublic. It looks at the address that is being
// connected to, after the name has been resolved: what the name meant a moment before says nothing. Leave out proxies, which
// would connect where it cannot look.
func PublicOnly(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return ErrNotPublic
	}
	return nil
}

// public tells whether an address is one of the public internet.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // no network contains an address with a zone
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special are the networks that no server of the public internet has, beyond those that net/netip knows
// (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry), and those that carry an IPv4
// address inside.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4 inside, deprecated
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: IPv4 inside
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64 of the network's own
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: IPv4 inside
	netip.MustParsePrefix("3fff::/20"),       // documentation
	netip.MustParsePrefix("5f00::/16"),       // segment routing
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
}
