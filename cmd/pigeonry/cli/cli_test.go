package cli_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

func TestHelp(t *testing.T) {
	for _, command := range []string{
		"serve", "config check", "key create", "key list", "key revoke", "send", "trace", "ready", "version",
		"plugin", "plugin new", "plugin dev", "plugin test", "plugin bench", "plugin pack", "plugin sign", "plugin keygen", "plugin list", "plugin versions", "plugin install", "plugin rollout", "plugin status", "plugin promote",
		"plugin pause", "plugin resume", "plugin rollback", "plugin remove",
	} {
		t.Run(command, func(t *testing.T) {
			o := run(t, cli.Process{Args: append(strings.Fields(command), "--help")})
			o.expect(t, 0, "Examples:\n  ", "")
			o.expect(t, 0, "pigeonry "+command, "")
		})
	}
}

func TestUnknownCommand(t *testing.T) {
	run(t, cli.Process{Args: []string{"serv"}}).expect(t, 1, "", `unknown command "serv"`)
}

func TestConfigCheck(t *testing.T) {
	good := write(t, "gateway.hcl", "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n}\n")
	run(t, cli.Process{Args: []string{"config", "check", "-c", good}}).
		expect(t, 0, good+" is sound: 1 connector, store sqlite, queue memory, coordination local", "")

	bad := write(t, "gateway.hcl", "lisen = \"x\"\nmax_attempts = 0\n")
	o := run(t, cli.Process{Args: []string{"config", "check", "-c", bad}})
	o.expect(t, 1, "", bad+`:1:1: unknown key "lisen" — did you mean "listen"?`)
	o.expect(t, 1, "", bad+":2:16: max_attempts is out of bounds")
	o.expect(t, 1, "", "the configuration has 2 faults; nothing was started or changed")

	run(t, cli.Process{Args: []string{"config", "check", "-c", good}, Environ: []string{"PIGEONRY_LISTN=x"}}).
		expect(t, 0, "is sound", "warning: environment variable PIGEONRY_LISTN is not known")
}

// serve hands the settings of all layers to the gateway, and finds gateway.hcl by itself.
func TestServe(t *testing.T) {
	file := write(t, "gateway.hcl", "data_dir = \"/from/file\"\n")
	t.Chdir(strings.TrimSuffix(file, "/gateway.hcl"))
	var have *settings.Settings
	p := cli.Process{
		Args: []string{"serve", "--listen", "127.0.0.1:1"}, Environ: []string{"PIGEONRY_LOG_LEVEL=debug"},
		Gateway: cli.Gateway{Serve: func(ctx context.Context, s *settings.Settings, logger *slog.Logger, _ cli.Follow) error {
			have = s
			logger.DebugContext(ctx, "here")
			return nil
		}},
	}
	run(t, p).expect(t, 0, "", "level=DEBUG msg=here")
	if have.File != "gateway.hcl" || have.DataDir != "/from/file" || have.Listen != "127.0.0.1:1" {
		t.Errorf("have %+v", have)
	}
}

// accounts keeps keys in memory.
type accounts struct {
	keys   []core.Key
	closed bool
}

func (a *accounts) Account(_ context.Context, name string, create bool) (core.Account, error) {
	if name != "default" && !create {
		return core.Account{}, core.NotFound("account")
	}
	return core.Account{ID: 1, Name: name}, nil
}

func (a *accounts) Create(_ context.Context, account core.AccountID, name string, expires time.Time) (string, core.Key, error) {
	k := core.Key{ID: int64(len(a.keys) + 1), Account: account, Name: name, Hint: "pgn_live_abcd", CreatedAt: time.Now(), ExpiresAt: expires}
	a.keys = append(a.keys, k)
	return "pgn_live_abcd_secret", k, nil
}

func (a *accounts) List(context.Context, core.AccountID) ([]core.Key, error) { return a.keys, nil }

func (a *accounts) Revoke(_ context.Context, _ core.AccountID, id int64) error {
	if id < 1 || id > int64(len(a.keys)) {
		return core.NotFound("key")
	}
	a.keys[id-1].RevokedAt = time.Now()
	return nil
}

func (a *accounts) Close() error {
	a.closed = true
	return nil
}

func TestKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	a := &accounts{}
	do := func(args ...string) outcome {
		return run(t, cli.Process{Args: append([]string{"key"}, args...), Gateway: cli.Gateway{
			Accounts: func(context.Context, *settings.Settings) (cli.Accounts, error) { return a, nil },
		}})
	}
	o := do("create", "--name", "shop", "--expires-in", "1h")
	o.expect(t, 0, "pgn_live_abcd_secret\n", `key 1 of account "default"`)
	if strings.Contains(o.err, "secret") {
		t.Error("the key stands on the standard error")
	}
	do("create").expect(t, 0, "pgn_live_abcd_secret\n", "key 2")
	do("revoke", "2").expect(t, 0, "key 2 is revoked", "")
	do("revoke", "9").expect(t, 1, "", "key not found")
	do("revoke", "two").expect(t, 1, "", `"two" is not the id of a key`)
	o = do("list")
	lines := strings.Split(o.out, "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "shop") || !strings.HasSuffix(lines[1], "in force") || !strings.HasSuffix(lines[2], "revoked") {
		t.Errorf("list:\n%s", o.out)
	}
	if strings.Contains(o.out, "secret") {
		t.Error("list shows a key")
	}
	if !a.closed {
		t.Error("the store was not closed")
	}
	do("list", "--account", "other").expect(t, 1, "", `find account "other"`)
}

func TestTrace(t *testing.T) {
	g := newFakeGateway(t)
	g.run(t, "trace", "msg_1").expect(t, 0, "message 12345: 1 node in 1000.500 ms", "")
	g.run(t, "trace", "msg_1", "--json").expect(t, 0, `"node_count": 1`, "")
}

func TestReady(t *testing.T) {
	g := newFakeGateway(t)
	g.fail = func(request int) (int, string) {
		if request < 3 {
			return http.StatusServiceUnavailable, ""
		}
		return 0, ""
	}
	g.run(t, "ready").expect(t, 0, "ready", "")
	g.fail = func(int) (int, string) { return http.StatusServiceUnavailable, "" }
	g.run(t, "ready", "--timeout", "150ms").expect(t, 1, "", "not ready within 150ms: not ready; sms is starting")
}

func TestVersion(t *testing.T) {
	run(t, cli.Process{Args: []string{"version"}}).expect(t, 0, "pigeonry ", "")
}
