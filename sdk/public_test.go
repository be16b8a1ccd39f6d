package sdk_test

import (
	"errors"
	"net"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestPublicOnly(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "142.250.185.74": true, "192.0.1.1": true, "172.15.0.1": true, "172.32.0.1": true, "100.128.0.1": true,
		"::ffff:8.8.8.8": true, "2606:4700::1111": true, "2a00:1450:4001:82a::200a": true, "2606:4700::1111%eth0": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "100.64.0.1": false, "127.0.0.1": false, "127.8.8.8": false, "169.254.169.254": false,
		"172.16.0.1": false, "172.31.255.255": false, "192.0.0.8": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false,
		"198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false, "100::1": false,
		"2001::1": false, "2001:0:1::": false, "2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "5f00::1": false,
		"fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"64:ff9b::a00:1%1": false, "2002:7f00:1::%lo": false, "fec0::1%eth0": false, "nonsense": false, "": false,
	} {
		err := sdk.PublicOnly(t.Context(), "tcp", net.JoinHostPort(address, "443"), nil)
		if (err == nil) != want || err != nil && !errors.Is(err, sdk.ErrNotPublic) {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
	}
}
