package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// dialTimeout bounds a connection to a push service.
const dialTimeout = 10 * time.Second

// errPrivate is an endpoint that leads to where only inner services are.
var errPrivate = errors.New("the endpoint of the subscription leads to an address that is not public")

// guard makes a transport connect to public addresses alone, unless private ones are allowed.
func guard(transport *http.Transport, private bool) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !private {
		dialer.ControlContext = sdk.PublicOnly
	}
	transport.Proxy = nil // a proxy would connect where we do not see it
	transport.DialContext = dialer.DialContext
}

// services are the hosts of the browsers' push services: what goes wrong there is not the subscriber's doing.
var services = [...]string{"fcm.googleapis.com", "*.push.services.mozilla.com", "web.push.apple.com", "*.notify.windows.com"}

// names tells whether a host is one of hosts, or below one that begins with *.
func names(hosts []string, endpoint *url.URL) bool {
	host := strings.ToLower(endpoint.Hostname())
	for _, h := range hosts {
		h = strings.ToLower(h)
		if suffix, below := strings.CutPrefix(h, "*"); host == h || below && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// blameEndpoint blames the message for whatever a host has answered, or not, that the subscriber has chosen: a host of somebody's own
// that is down, or that refuses all logins, must not close the connector for the others.
func blameEndpoint(err error) error {
	failed, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return err
	}
	blamed := *failed
	blamed.Fault = sdk.FaultMessage
	return &blamed
}

// unreachable rejects a message whose endpoint leads nowhere, or where it must not.
func unreachable(err error) error {
	if errors.Is(err, sdk.ErrNotPublic) {
		return badRecipient.of(errPrivate, "", 0) // which address it is stays here: a subscriber must not learn it
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		return badRecipient.of(fmt.Errorf("the endpoint of the subscription has no address: %w", err), "", 0)
	}
	return err
}
