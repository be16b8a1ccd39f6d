package settings_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// Every row is a file that must not start, with all that is to be said about it.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name, file string
		environ    []string
		want       []string
	}{
		{
			name: "syntax", file: "listen = \n",
			want: []string{"gateway.hcl:1:10: invalid expression — Expected the start of an expression, but found an invalid expression token."},
		},
		{
			name: "text without quotes", file: "log {\n  level = info\n}\n",
			want: []string{`gateway.hcl:2:11: variables not allowed — put a text in quotes; env("NAME") and file("path") are the only names that stand without`},
		},
		{
			name: "unknown key", file: `lisen = "x"`,
			want: []string{`gateway.hcl:1:1: unknown key "lisen" — did you mean "listen"?`},
		},
		{
			name: "unknown block", file: "conector \"a\" \"b\" {}\n",
			want: []string{`gateway.hcl:1:1: unknown block "conector" — did you mean "connector"?`},
		},
		{
			name: "unknown key in a block", file: "log {\n  verbosity = true\n}\n",
			want: []string{`gateway.hcl:2:3: unknown key "verbosity" — known here: format, level`},
		},
		{
			name: "block written as key", file: `plugins = "./p"`,
			want: []string{`gateway.hcl:1:1: "plugins" is a block, not a key — write plugins { … }`},
		},
		{
			name: "key written as block", file: "listen {}\n",
			want: []string{`gateway.hcl:1:1: "listen" is a key, not a block — write listen = …`},
		},
		{
			name: "all at once, in the order of the file",
			file: "listen = \"nowhere\"\ndrain_timeout = \"10 seconds\"\nmax_attempts = 0\nlog {\n  level = \"wran\"\n}\n",
			want: []string{
				`gateway.hcl:1:10: listen is not an address — write host:port, like "127.0.0.1:8080"`,
				`gateway.hcl:2:17: drain_timeout is not a duration — write a number with a unit, like "500ms", "30s", "5m" or "7d"`,
				`gateway.hcl:3:16: max_attempts is out of bounds — use a number between 1 and 100`,
				`gateway.hcl:5:11: level is not one of "debug", "info", "warn", "error" — did you mean "warn"?`,
			},
		},
		{
			name: "a route", file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n  failover_ramp = \"soon\"\n  route {\n    countries = [\"China\"]\n    accounts = []\n    templates = [\"a\"]\n    prefix = [\"+86\"]\n  }\n}\n",
			want: []string{
				`gateway.hcl:3:19: failover_ramp is not a duration — write a number with a unit, like "500ms", "30s", "5m" or "7d"`,
				`gateway.hcl:5:17: countries has an entry, number 1, that is not a region — write two letters of ISO 3166-1, like "CN" or "DE"`,
				`gateway.hcl:6:16: accounts is empty — write it like ["default"]`,
				`gateway.hcl:7:17: templates has an entry, number 1, that is not a whole number — write a number between 1 and 9007199254740992`,
				`gateway.hcl:8:5: unknown key "prefix" — did you mean "prefixes"?`,
			},
		},
		{
			name: "missing secret", file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n  config {\n    password = env(\"SMS_PASSWORD\")\n  }\n}\n",
			want: []string{`gateway.hcl:4:16: env: the environment variable "SMS_PASSWORD" is not set — set it where the gateway is started`},
		},
		{
			name: "unreadable secret file", file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n  config {\n    password = file(\"absent\")\n  }\n}\n",
			want: []string{`gateway.hcl:4:16: file: cannot read "absent": no such file or directory — give the path of a readable file, relative to the working directory`},
		},
		{
			name: "unknown function", file: "listen = environment(\"X\")\n",
			want: []string{`gateway.hcl:1:10: call to unknown function — There is no function named "environment".`},
		},
		{
			name: "duplicate connector", file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n}\nconnector \"sms\" \"main\" {\n  plugin = \"sms\"\n}\n",
			want: []string{`gateway.hcl:4:1: connector sms main is given twice — it stands at gateway.hcl:1:1 already; keep one`},
		},
		{
			name: "two stores", file: "store \"sqlite\" {}\nstore \"postgres\" {\n  url = \"postgres://db/p\"\n}\n",
			want: []string{`gateway.hcl:2:1: store postgres is given twice — it stands at gateway.hcl:1:1 already; keep one`},
		},
		{
			name: "unknown technology", file: "store \"sqlit\" {}\n",
			want: []string{`gateway.hcl:1:7: the technology "sqlit" is not one of "postgres", "sqlite" — did you mean "sqlite"?`},
		},
		{
			name: "technology without its URL", file: "queue \"rabbitmq\" {}\n",
			want: []string{`gateway.hcl:1:1: queue has no url — add url = …`},
		},
		{
			name: "URL of another service", file: "queue \"rabbitmq\" {\n  url = \"http://u:hunter2@x\"\n}\n",
			want: []string{`gateway.hcl:2:9: url is not a URL of this service — it begins with amqp:// or amqps://`},
		},
		{
			name: "dot in a label", file: "connector \"sms\" \"aliyun.main\" {\n  plugin = \"sms\"\n}\n",
			want: []string{`gateway.hcl:1:17: the name "aliyun.main" contains a dot — use letters, digits, - and _: "aliyun-main"`},
		},
		{
			name: "too few labels", file: "connector \"sms\" {\n  plugin = \"sms\"\n}\n",
			want: []string{`gateway.hcl:1:1: "connector" has 1 labels and takes 2 — write connector "<channel>" "<name>" { … }`},
		},
		{
			name: "no plugin named", file: "connector \"sms\" \"main\" {}\n",
			want: []string{`gateway.hcl:1:1: connector has no plugin — add plugin = …`},
		},
		{
			name: "over the cap", file: "pool \"message_sender\" {\n  max_size = 100000\n}\n",
			want: []string{`gateway.hcl:2:14: max_size is out of bounds — use a number between 1 and 10000`},
		},
		{
			name: "pool that never shrinks", file: "pool \"message_sender\" {\n  scale_down_threshold = 0\n}\n",
			want: []string{`gateway.hcl:2:26: scale_down_threshold is 0 — an empty queue must be below it: use 0.2`},
		},
		{
			name: "pool upside down", file: "pool \"message_sender\" {\n  core_size = 200\n  scale_down_threshold = 0.9\n}\n",
			want: []string{
				`gateway.hcl:2:15: core_size is above max_size — raise max_size or lower core_size`,
				`gateway.hcl:3:26: scale_down_threshold is not below scale_up_threshold — a pool that grows and shrinks at once never rests: use 0.8 and 0.2`,
			},
		},
		{
			name: "unknown pool", file: "pool \"message_senders\" {}\n",
			want: []string{`gateway.hcl:1:6: the pool "message_senders" is not one of "message_sender" — did you mean "message_sender"?`},
		},
		{
			name: "window missing", file: "limit \"api:/messages/send\" {\n  type = \"sliding_window\"\n  max = 5\n}\n",
			want: []string{`gateway.hcl:1:1: a sliding_window has no window — add window = "1m"`},
		},
		{
			name: "window of a rate", file: "limit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 5\n}\nlimit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 5\n  window = \"1s\"\n}\n",
			want: []string{`gateway.hcl:8:12: window belongs to type "sliding_window" alone — remove it or change the type`},
		},
		{
			name: "limit of nothing", file: "limit \"api:/messages/sent\" {\n  type = \"qps\"\n  max = 5\n}\n",
			want: []string{`gateway.hcl:1:7: the resource "api:/messages/sent" is not one of "api:/messages/send", "api:/messages/send-batch", "channel:<channel>", "connector:<channel>/<name>" — did you mean "api:/messages/send"?`},
		},
		{
			name: "limits of what is not there",
			file: "limit \"connector:sms\" {\n  type = \"qps\"\n  max = 5\n}\nlimit \"channel:S M S\" {\n  type = \"qps\"\n  max = 5\n}\n",
			want: []string{
				`gateway.hcl:1:7: the resource "connector:sms" is not the resource of a connector — write "connector:<channel>/<name>"`,
				`gateway.hcl:5:7: the resource "channel:S M S" is not a name — use up to 63 small letters, digits, - and _, beginning with a letter or digit`,
			},
		},
		{
			name: "limits of a channel and a connector that nothing configures",
			file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n}\n" +
				"limit \"connector:sms/mian\" {\n  type = \"qps\"\n  max = 5\n}\nlimit \"channel:smss\" {\n  type = \"qps\"\n  max = 5\n}\n",
			want: []string{
				`gateway.hcl:4:1: there is no connector "sms/mian" — did you mean "sms/main"?`,
				`gateway.hcl:8:1: there is no channel "smss" — did you mean "sms"?`,
			},
		},
		{
			name: "limit of a connector where there is none",
			file: "limit \"connector:sms/main\" {\n  type = \"qps\"\n  max = 5\n}\n",
			want: []string{`gateway.hcl:1:1: there is no connector "sms/main" — configure a connector first`},
		},
		{
			name: "unknown dimension",
			file: "limit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 5\n  by = \"acount\"\n}\n",
			want: []string{`gateway.hcl:4:8: by is not one of "account", "key", "ip", "channel", "recipient", "connector", "global" — did you mean "account"?`},
		},
		{
			name: "dimensions that nothing could count by",
			file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n}\n" +
				"limit \"connector:sms/main\" {\n  type = \"qps\"\n  max = 5\n  by = \"ip\"\n}\n" +
				"limit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 5\n  by = \"connector\"\n}\n" +
				"limit \"api:/messages/send\" {\n  type = \"concurrent\"\n  max = 5\n  by = \"recipient\"\n}\n" +
				"limit \"channel:sms\" {\n  type = \"concurrent\"\n  max = 5\n}\n",
			want: []string{
				`gateway.hcl:7:8: a limit of a connector counts by connector — use by = "connector" or leave it out`,
				`gateway.hcl:12:8: no connector is chosen yet when a request comes — limit the connector itself: limit "connector:<channel>/<name>"`,
				`gateway.hcl:17:8: the recipient of a request is not known yet when it is counted here — use by = "account", "key", "ip" or "global"`,
				`gateway.hcl:19:1: nothing is under way in a channel while it is counted — use type = "qps" or "sliding_window"`,
			},
		},
		{
			name: "one limit twice",
			file: "limit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 5\n}\nlimit \"api:/messages/send\" {\n  type = \"qps\"\n  by = \"key\"\n  max = 5\n}\n" +
				"limit \"api:/messages/send\" {\n  type = \"qps\"\n  by = \"account\"\n  max = 7\n}\n",
			want: []string{`gateway.hcl:10:1: the limit is given twice — a limit of the same type, by and window stands at gateway.hcl:1:1 already; keep one`},
		},
		{
			name: "wrong type", file: "listen = 8080\nmax_attempts = [1]\n",
			want: []string{
				`gateway.hcl:1:10: listen is not an address — write host:port, like "127.0.0.1:8080"`,
				`gateway.hcl:2:16: max_attempts is not a whole number — write a number between 1 and 100`,
			},
		},
		{
			name: "value and block of one name", file: "connector \"sms\" \"main\" {\n  plugin = \"sms\"\n  config {\n    tls = {}\n    tls {}\n  }\n}\n",
			want: []string{`gateway.hcl:5:5: "tls" is given as a value and as a block — keep one of them`},
		},
		{
			name: "plugins",
			file: `operators = "default"
plugins {
  rollout           = "auto"
  require_signature = "yes"
  trusted_keys      = [""]
  plaintext         = ["ok", "Not.Ok"]
  env               = ["PIGEONRY_POSTGRES_URL"]
  canary {
    steps             = [1, 50]
    min_samples       = 0
    window            = "1ms"
    by                = "mesage"
    max_failure_rate  = 2
    max_latency_ratio = 0.5
  }
  sandbox {
    memory    = "512"
    cpu       = -1
    files     = 3
    processes = "many"
    disk      = "1GB"
  }
}
`,
			want: []string{
				`gateway.hcl:1:13: operators is not a list — write it in brackets, like ["default"]`,
				`gateway.hcl:3:23: rollout is not one of "manual", "automatic" — known here: manual, automatic`,
				`gateway.hcl:4:23: require_signature is neither true nor false — write true or false, without quotes`,
				`gateway.hcl:5:23: trusted_keys has an entry, number 1, that is not a public key — write what minisign shows (RW…), or file("…") with its .pub file or a PEM file`,
				`gateway.hcl:6:23: plaintext has an entry, number 2, that contains a dot — use letters, digits, - and _: "Not-Ok"`,
				`gateway.hcl:7:23: env has an entry, number 1, that is a variable of the gateway's own — it may hold a secret; give a plugin what it needs in the config of its connector`,
				`gateway.hcl:9:25: steps does not end with 100 — let the new version have everything in the end, like [1, 10, 50, 100]`,
				`gateway.hcl:10:25: min_samples is out of bounds — use a number between 1 and 1000000`,
				`gateway.hcl:11:25: window is out of bounds — use a duration between 100ms and 24h0m0s`,
				`gateway.hcl:12:25: by is not one of "message", "account" — did you mean "message"?`,
				`gateway.hcl:13:25: max_failure_rate is out of bounds — use a number between 0 and 1`,
				`gateway.hcl:14:25: max_latency_ratio is out of bounds — use a number between 1 and 1000`,
				`gateway.hcl:17:17: memory is not a size — write a whole number with a unit, like "512MB" or "2GiB"`,
				`gateway.hcl:18:17: cpu is out of bounds — use a number between 0 and 1024`,
				`gateway.hcl:19:17: files is out of bounds — use a number between 64 and 1000000`,
				`gateway.hcl:20:17: processes is not a whole number — write a number between 32 and 100000`,
				`gateway.hcl:21:5: unknown key "disk" — known here: cpu, files, memory, processes, user`,
			},
		},
		{
			name: "steps and sizes", file: "plugins {\n  canary {\n    steps = [10, 10, 100]\n  }\n  sandbox {\n    memory = \"2TB\"\n  }\n  env = [\"A B\"]\n}\n",
			want: []string{
				`gateway.hcl:3:13: steps is not ascending — write shares in percent, like [1, 10, 50, 100]`,
				`gateway.hcl:6:14: memory is out of bounds — use a size between "16MiB" and "1024GiB"`,
				`gateway.hcl:8:9: env has an entry, number 1, that is not the name of an environment variable — write its name, like "HTTPS_PROXY"`,
			},
		},
		{
			name: "no steps, twice a block", file: "plugins {\n  canary {\n    steps = []\n  }\n  canary {\n    steps = [\"all\"]\n  }\n}\n",
			want: []string{
				`gateway.hcl:3:13: steps is empty — write it like [1, 10, 50, 100]`,
				`gateway.hcl:5:3: canary is given twice — it stands at gateway.hcl:2:3 already; keep one`,
			},
		},
		{
			name: "key of another kind",
			file: "plugins {\n  trusted_keys = [<<E\n-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\nE\n  ]\n}\n",
			want: []string{"gateway.hcl:2:18: trusted_keys has an entry, number 1, that is not a public key of the kind Ed25519 — make one with `minisign -G` or `openssl genpkey -algorithm ed25519`"},
		},
		{
			name: "signature of nobody", file: "plugins {\n  require_signature = true\n}\n",
			want: []string{`gateway.hcl:2:23: require_signature is true and trusted_keys is empty — no plugin could start: add the public keys of those who sign them`},
		},
		{
			name: "environment", file: "", environ: []string{"PIGEONRY_BOOTSTRAP_KEY=hunter2", "PIGEONRY_LISTEN=hunter2"},
			want: []string{
				`environment variable PIGEONRY_BOOTSTRAP_KEY: the value is too short or contains blanks — use at least 32 characters without blanks, such as the output of ` + "`openssl rand -hex 24`",
				`environment variable PIGEONRY_LISTEN: the value is not an address — write host:port, like "127.0.0.1:8080"`,
			},
		},
		{
			name: "deep brackets", file: "listen = " + strings.Repeat("(", 1_000_000) + "\n",
			want: []string{`gateway.hcl:1:74: the file is nested too deeply — a configuration needs no more than a few levels`},
		},
		{
			name: "deep templates", file: "listen = " + strings.Repeat(`"${`, 1000) + "\n",
			want: []string{`gateway.hcl:1:106: the file is nested too deeply — a configuration needs no more than a few levels`},
		},
		{
			name: "endless operators", file: "max_attempts = " + strings.Repeat("!", 1_000_000) + "true\n",
			want: []string{`gateway.hcl:1:20016: the file has too many operators — a configuration needs no more than a few levels`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.file, test.environ...)
			faults, ok := errors.AsType[settings.Faults](err)
			if !ok {
				t.Fatalf("want faults, have %v", err)
			}
			want, have := strings.Join(test.want, "\n"), faults.Error()
			if have != want {
				t.Errorf("want\n%s\nhave\n%s", want, have)
			}
			if strings.Contains(have, "hunter2") {
				t.Error("a value is shown that may be a secret")
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"absent.hcl": `absent.hcl: cannot read "absent.hcl": no such file or directory — give the path of a readable file, relative to the working directory`,
		"folder":     `folder: cannot read "folder": it is not a regular file — give the path of a file`,
	} {
		if _, err := settings.Load(settings.Sources{File: file}); err == nil || err.Error() != want {
			t.Errorf("want %s\nhave %v", want, err)
		}
	}
}

// Whatever stands in the file, Load returns: sound settings or faults that each name their place.
func FuzzLoad(f *testing.F) {
	repository, err := os.ReadFile("../../../gateway.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(repository), "", "\xef\xbb\xbflisten = \"x\"", "listen = <<E\nx\nE\n", `connector "a" "b" { config { x { y = [{z = 1}] } } }`,
		`limit "a:b" { max = 1e999 }`, `x = "${env("A")}${file("B")}"`, "listen = ((((1", "store \"sqlite\" {\n", "retry = {for k in [1]: k => k...}",
	} {
		f.Add([]byte(seed))
	}
	file := f.TempDir() + "/gateway.hcl"
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := settings.Load(settings.Sources{File: file})
		if err == nil {
			for _, c := range s.Connectors {
				if s.Position(string(c.ID)) == "" {
					t.Errorf("connector %s has no place", c.ID)
				}
			}
			return
		}
		faults, ok := errors.AsType[settings.Faults](err)
		if !ok || len(faults) == 0 {
			t.Fatalf("want faults, have %v", err)
		}
		for _, fault := range faults {
			if !strings.HasPrefix(fault.Position, file) || fault.Problem == "" {
				t.Errorf("a fault without place or problem: %+v", fault)
			}
		}
	})
}
