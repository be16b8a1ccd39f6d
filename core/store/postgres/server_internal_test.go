package postgres

import (
	"strings"
	"testing"
)

func TestUnfitServers(t *testing.T) {
	for _, c := range []struct {
		server server
		want   string // of the error; "": fit
	}{
		{server{version: 15_00_08, synchronousCommit: "on"}, ""},
		{server{version: 18_00_01, synchronousCommit: "remote_apply"}, ""},
		{server{version: 14_00_11, synchronousCommit: "on"}, "the server is version 14.11; use PostgreSQL 15 or newer"},
		{server{version: 15_00_08, synchronousCommit: "off"}, "ALTER ROLE … SET synchronous_commit = on"},
	} {
		err := c.server.unfit()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.server, err, c.want)
		}
	}
}
