package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// dialTimeout bounds a connection to a push service.
const dialTimeout = 10 * time.Second

// errPrivate is an endpoint that leads to where only inner services are.
var errPrivate = errors.New("the endpoint of the subscription leads to an address that is not public")

// innerNetworks are those that are not public and that netip does not know as such, as IANA's registries of special-purpose
// addresses have them (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry).
var innerNetworks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: holds an IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64 of the network's own
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: holds an IPv4 address
	netip.MustParsePrefix("3fff::/20"),       // documentation
	netip.MustParsePrefix("5f00::/16"),       // segment routing
}

// public tells whether an address is one of the internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range innerNetworks {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// guard refuses connections to addresses that are not public, unless they are allowed. It looks at the address that is connected
// to, after the name has been resolved: what the name resolved to a moment before says nothing.
func guard(private bool) func(ctx context.Context, network, address string, _ syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		if private {
			return nil
		}
		to, err := netip.ParseAddrPort(address)
		if err != nil || !public(to.Addr()) {
			return errPrivate
		}
		return nil
	}
}

// unreachable blames the message for an endpoint that leads nowhere, or where it must not: the push services are not
// to blame for it.
func unreachable(err error) error {
	if errors.Is(err, errPrivate) {
		return badRecipient.of(errPrivate, "", 0) // which address it is stays here: a subscriber must not learn it
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		return badRecipient.of(fmt.Errorf("the endpoint of the subscription has no address: %w", err), "", 0)
	}
	return err
}
