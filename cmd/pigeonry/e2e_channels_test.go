package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/huawei"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
)

// channelMessages is how many messages the test of all channels at once sends.
var channelMessages = flag.Int("channel-messages", 5_000, "messages of the test of all channels at once")

// provider is a provider that the sandbox plays, and a connector to it.
type provider struct {
	name      string // at the sandbox, and of the connector
	channel   string
	plugin    string
	config    string                     // of the connector; {{sandbox}} is the sandbox's HTTP address, {{smtp_port}} its port for mails
	block     string                     // what else the connector says
	settings  string                     // at the sandbox; {{callback}} is the connector's callback URL
	recipient func(s *system, i int) any // the i-th recipient
	template  string                     // of the provider's own, as JSON; "": the text goes out
	receipts  string                     // what the last of them says when all is well; "": there are none
	// patient is a provider that, where it is called too fast, asks for a longer pause than a test has time for.
	patient bool
	// refusal is an error of the provider's own, and what it is called here.
	refusal, code string
	// expire is the event that ends all access tokens; "": the provider has none.
	expire string
	// writes is the event of a user who writes Hello; "": none can.
	writes string
}

func (p provider) connector() string { return p.channel + "/" + p.name }

// ends is the status of a message when all is well.
func (p provider) ends() string {
	if p.receipts != "" {
		return p.receipts
	}
	return "sent"
}

func phone(_ *system, i int) any { return fmt.Sprintf("+86138%08d", i) }

// channels are the providers of all channels.
func channels() []provider {
	return []provider{
		{
			name: "aliyun", channel: "sms", plugin: "sms", receipts: "delivered", recipient: phone,
			config: `aliyun {
				access_key_id = "sandbox"
				access_key_secret = "sandbox-secret"
				sign_name = "Sandbox"
				callback_token = "token-of-callbacks"
				base_url = "{{sandbox}}"
			}`,
			settings: `{"report_url": "{{callback}}?token=token-of-callbacks", "up_url": "{{callback}}?token=token-of-callbacks"}`,
			template: `{"id": "SMS_CODE", "parameters": {"code": "{{code}}"}}`,
			refusal:  "isv.MOBILE_NUMBER_ILLEGAL", code: "invalid_recipient",
			writes: `{"type": "up", "from": "+8613800138000", "text": "Hello", "sign": "Sandbox", "dest_code": "1234"}`,
		},
		{
			name: "tencent", channel: "sms", plugin: "sms", receipts: "delivered", recipient: phone,
			config: `tencent {
				secret_id = "sandbox"
				secret_key = "sandbox-secret"
				app_id = "1400000000"
				sign_name = "Sandbox"
				callback_token = "token-of-callbacks"
				base_url = "{{sandbox}}"
			}`,
			settings: `{"report_url": "{{callback}}?token=token-of-callbacks", "reply_url": "{{callback}}?token=token-of-callbacks"}`,
			template: `{"id": "1000", "parameters": {"1": "{{code}}"}}`,
			refusal:  "InvalidParameterValue.IncorrectPhoneNumber", code: "invalid_recipient",
			writes: `{"type": "reply", "from": "+8613800138000", "text": "Hello", "sign": "Sandbox", "extend": "12"}`,
		},
		{
			name: "twilio", channel: "sms", plugin: "sms", receipts: "delivered", recipient: phone,
			config: `twilio {
				account_sid = "AC00000000000000000000000000000000"
				auth_token = "sandboxsecret"
				from = "+15005550006"
				base_url = "{{sandbox}}"
			}`,
			settings: `{"incoming_url": "{{callback}}"}`,
			refusal:  "21610", code: "unsubscribed",
			writes: `{"type": "message", "from": "+4917612345678", "to": "+15005550006", "text": "Hello"}`,
		},
		{
			name: "fcm", channel: "app", plugin: "app",
			config: `fcm {
				service_account = {{fcm}}
				base_url = "{{sandbox}}"
				token_url = "{{sandbox}}/token"
			}`,
			recipient: func(_ *system, i int) any { return fmt.Sprintf("token-%d:APA91b", i) },
			refusal:   "UNREGISTERED", code: "unregistered", expire: `{"event": "expire_tokens"}`,
		},
		{
			name: "apns", channel: "app", plugin: "app",
			config: `apns {
				private_key = {{apns}}
				key_id = "` + apns.KeyID + `"
				team_id = "` + apns.TeamID + `"
				topic = "` + apns.Topic + `"
				base_url = "{{sandbox}}"
			}`,
			recipient: func(_ *system, i int) any { return fmt.Sprintf("%064x", i+1) }, patient: true,
			refusal: "Unregistered", code: "unregistered", expire: `{"event": "expire_tokens"}`,
		},
		{
			name: "webpush", channel: "app", plugin: "app",
			config: `webpush {
				private_key = "` + webpush.PrivateKey + `"
				subject = "mailto:ops@example.com"
				private = true
			}`,
			recipient: func(s *system, i int) any {
				return webpush.Subscription("http://"+s.sandbox.HTTP, fmt.Sprintf("ann%d", i))
			},
			refusal: "410", code: "unregistered",
		},
		{
			name: "huawei", channel: "app", plugin: "app", receipts: "delivered",
			config: `huawei {
				client_id = "` + huawei.ClientID + `"
				client_secret = "` + huawei.ClientSecret + `"
				callback_user = "` + huawei.CallbackUser + `"
				callback_key = "` + huawei.CallbackKey + `"
				base_url = "{{sandbox}}"
				token_url = "{{sandbox}}/oauth2/v3/token"
			}`,
			settings:  `{"callback_url": "{{callback}}"}`,
			recipient: func(_ *system, i int) any { return fmt.Sprintf("IQAAAACy0%08d", i) },
			refusal:   "80300007", code: "unregistered", expire: `{"event": "expire_tokens"}`,
		},
		{
			name: "wechat", channel: "wechat", plugin: "wechat", receipts: "delivered",
			config: `
				app_id = "wx5a9db0c5a9db0c00"
				app_secret = "sandbox-secret-of-wechat-00000000"
				token = "sandboxtoken"
				encoding_aes_key = "sandboxsandboxsandboxsandboxsandboxsandbox0"
				base_url = "{{sandbox}}"
			`,
			settings:  `{"callback_url": "{{callback}}"}`,
			recipient: func(_ *system, i int) any { return fmt.Sprintf("oLVPpjqs9BhvzwPj5A-%08d", i) },
			template:  `{"id": "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY", "parameters": {"first": "{{code}}"}}`,
			refusal:   "43004", code: "unsubscribed",
			writes: `{"from": "oLVPpjqs9BhvzwPj5A-00000001", "text": "Hello"}`, patient: true,
		},
		{
			name: "feishu", channel: "feishu", plugin: "feishu",
			config: `
				base_url = "{{sandbox}}"
				app {
					app_id = "cli_sandbox"
					app_secret = "sandbox-secret"
					verification_token = "sandbox-token"
					encrypt_key = "sandbox-encrypt-key"
					per_second = 1000
					per_minute = 60000
					recipient_per_second = 1000
				}
			`,
			settings:  `{"callback_url": "{{callback}}", "app_per_second": 0, "app_per_minute": 0, "recipient_per_second": 0}`,
			recipient: func(_ *system, i int) any { return fmt.Sprintf("ou_%032x", i) },
			refusal:   "230013", code: "permission_denied",
			writes: `{"type": "message", "from": "ou_sandbox_user", "text": "Hello"}`, receipts: "read",
		},
	}
}

// startChannels runs a sandbox and a gateway with a connector to each of the providers.
func startChannels(t *testing.T, providers []provider, sandboxArgs ...string) *system {
	t.Helper()
	binaries, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{
		t: t, sandbox: startSandbox(t, sandboxArgs...), dir: t.TempDir(), plugins: filepath.Join(binaries, "plugins"), address: freeAddress(t),
	}
	s.config = filepath.Join(s.dir, "gateway.hcl")
	smtpHost, smtpPort, _ := net.SplitHostPort(s.sandbox.SMTP)
	var b strings.Builder
	fmt.Fprintf(&b, "listen = %q\ndata_dir = %q\npublic_url = %q\nplugins { dir = %q }\n", s.address, filepath.Join(s.dir, "data"), "http://"+s.address, s.plugins)
	fmt.Fprintf(&b, "connector \"email\" \"main\" {\n  plugin = \"email\"\n  config {\n    host = %q\n    port = %s\n    tls = \"none\"\n    from = \"Shop <no-reply@example.com>\"\n  }\n}\n", smtpHost, smtpPort)
	for _, p := range providers {
		config := strings.NewReplacer(
			"{{sandbox}}", "http://"+s.sandbox.HTTP,
			"{{smtp_port}}", smtpPort,
			"{{fcm}}", fmt.Sprintf("file(%q)", filepath.Join(s.dir, "service-account.json")),
			"{{apns}}", fmt.Sprintf("file(%q)", filepath.Join(s.dir, "apns.p8")),
		).Replace(p.config)
		fmt.Fprintf(&b, "connector %q %q {\n  plugin = %q\n  retry { first_delay = \"100ms\" }\n%s\n  config {\n%s\n  }\n}\n", p.channel, p.name, p.plugin, p.block, config)
	}
	for name, content := range map[string]string{
		s.config: b.String(), filepath.Join(s.dir, "service-account.json"): fcm.ServiceAccount, filepath.Join(s.dir, "apns.p8"): apns.PrivateKey,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	for _, p := range providers {
		if p.settings != "" {
			s.atSandbox(http.MethodPut, "/api/providers/"+p.name, strings.ReplaceAll(p.settings, "{{callback}}", s.callback(p)))
		}
	}
	return s
}

func (s *system) callback(p provider) string {
	return "http://" + s.address + "/callbacks/" + p.connector()
}

// atSandbox sends a request to the sandbox, which must take it.
func (s *system) atSandbox(method, path, body string) {
	s.t.Helper()
	status, answer, err := request(s.t.Context(), method, "http://"+s.sandbox.HTTP+path, bytes.NewReader([]byte(body)))
	if err != nil || status/100 != 2 {
		s.t.Fatalf("%s %s: %d, %v: %s", method, path, status, err, answer)
	}
}

// fault makes the provider misbehave until the test calls what it returns.
func (s *system) fault(p provider, how string) (mend func()) {
	s.t.Helper()
	s.atSandbox(http.MethodPut, "/api/faults", `{"channel": "`+p.name+`", `+how+`}`)
	return func() { s.atSandbox(http.MethodDelete, "/api/faults?channel="+p.name, "") }
}

// request to send a code to the i-th recipient of a provider.
func (p provider) request(s *system, i int) map[string]any {
	r := map[string]any{
		"channel": p.channel, "connector": p.connector(), "recipient": p.recipient(s, i), "subject": "Code",
		"variables": map[string]string{"code": strconv.Itoa(i)},
	}
	if p.template != "" {
		r["provider_templates"] = map[string]json.RawMessage{p.connector(): json.RawMessage(p.template)}
	} else {
		r["content"] = "Your code is {{code}}"
	}
	return r
}

func (s *system) send(p provider, i int) accepted {
	s.t.Helper()
	return get[accepted](s, http.MethodPost, "/api/messages/send", p.request(s, i))
}

// full is a message with what an attempt said.
type full struct {
	message
	Error *struct {
		Code         string `json:"code"`
		ProviderCode string `json:"provider_code"`
	} `json:"error"`
	Attempts []struct {
		Outcome string `json:"outcome"`
	} `json:"attempts"`
}

func (s *system) full(id int64) full {
	s.t.Helper()
	m := get[full](s, http.MethodGet, fmt.Sprintf("/api/messages/%d", id), nil)
	s.last = fmt.Sprintf("%+v", m)
	if m.Error != nil {
		s.last += fmt.Sprintf(" %+v", *m.Error)
	}
	return m
}

// arrives waits until a message is where it ends when all is well.
func (s *system) arrives(p provider, id int64) full {
	s.t.Helper()
	want := p.ends()
	var m full
	s.await(p.name+": the message is "+want, 20*time.Second, func() bool {
		m = s.full(id)
		return m.Status == want
	})
	return m
}

// taken counts how often the provider took what was sent to a recipient, and how often it did anything with it.
func (s *system) taken(p provider, i int) (taken, all int) {
	s.t.Helper()
	to := fmt.Sprint(p.recipient(s, i))
	for _, e := range s.entries(p) {
		if !strings.Contains(to, strings.TrimPrefix(e.To, "+")) {
			continue
		}
		all++
		if slices.Contains([]string{"delivered", "undelivered", "dropped", "unanswered"}, e.Outcome) {
			taken++
		}
	}
	return taken, all
}

// entries are those of the ledger that are of a provider.
func (s *system) entries(p provider) []ledgerEntry {
	s.t.Helper()
	return slices.DeleteFunc(s.ledger(p.channel), func(e ledgerEntry) bool { return e.Provider != p.name })
}

// Each provider, from the API to the trace: a message arrives, an error of the provider has our name, and nothing that goes
// wrong between the two loses a message or sends it twice unmarked.
func TestProviders(t *testing.T) {
	t.Parallel() // most of it is waiting
	all := channels()
	s := startChannels(t, all, "-receipt-delay", "20ms")
	for n, p := range all {
		t.Run(p.name, func(t *testing.T) {
			s.t = t
			first := 1000 * (n + 1)
			t.Run("a message arrives", func(t *testing.T) { s.t = t; s.messageArrives(p, first) })
			t.Run("an error of the provider", func(t *testing.T) { s.t = t; s.providerRefuses(p, first+1) })
			t.Run("no answer", func(t *testing.T) { s.t = t; s.providerHangsUp(p, first+3) })
			if p.expire != "" {
				t.Run("the access token has ended", func(t *testing.T) {
					s.t = t
					s.atSandbox(http.MethodPost, "/api/providers/"+p.name+"/events", p.expire)
					s.arrives(p, s.send(p, first+4).RecordID)
				})
			}
			if p.receipts == "delivered" {
				t.Run("receipts", func(t *testing.T) { s.t = t; s.receiptsOf(p, first+5) })
			}
			if p.writes != "" {
				t.Run("a user writes", func(t *testing.T) { s.t = t; s.userWrites(p) })
			}
			t.Run("a forged callback", func(t *testing.T) { s.t = t; s.forgedCallback(p) })
			t.Run("too fast", func(t *testing.T) { s.t = t; s.providerThrottles(p, first+2) }) // a patient one rests afterwards
		})
	}
	s.t = t
}

func (s *system) messageArrives(p provider, i int) {
	s.t.Helper()
	a := s.send(p, i)
	s.arrives(p, a.RecordID)
	if taken, all := s.taken(p, i); taken != 1 || all != 1 {
		s.t.Errorf("the ledger has it %d times, taken %d times", all, taken)
	}
	want := []string{"queue", "process", "send"}
	if p.receipts != "" {
		want = append(want, "callback")
	}
	s.await("the trace is whole", 10*time.Second, func() bool {
		var names []string
		for _, node := range s.trace(a.TraceID).TraceData.Nodes {
			names = append(names, node.Name)
		}
		s.last = fmt.Sprint(names)
		return slices.Equal(names, want)
	})
}

func (s *system) providerRefuses(p provider, i int) {
	s.t.Helper()
	mend := s.fault(p, `"error_rate": 1, "error_kind": "permanent", "error_code": "`+p.refusal+`"`)
	defer mend()
	a := s.send(p, i)
	s.await(p.name+": the message has failed", 20*time.Second, func() bool { return s.full(a.RecordID).Status == "failed" })
	m := s.full(a.RecordID)
	if m.Error == nil || m.Error.Code != p.code || !strings.HasPrefix(m.Error.ProviderCode, p.refusal) {
		s.t.Errorf("got %s, want the error %s of the provider's %s", s.last, p.code, p.refusal)
	}
	if taken, all := s.taken(p, i); taken != 0 || all != 1 {
		s.t.Errorf("the ledger has it %d times, taken %d times", all, taken)
	}
}

func (s *system) providerThrottles(p provider, i int) {
	s.t.Helper()
	mend := s.fault(p, `"throttle": true`)
	a := s.send(p, i)
	s.await(p.name+": the provider has refused it", 20*time.Second, func() bool {
		_, all := s.taken(p, i)
		return all > 0
	})
	mend()
	if p.patient {
		s.await(p.name+": the attempt is recorded", 10*time.Second, func() bool {
			attempts := s.full(a.RecordID).Attempts
			return len(attempts) > 0 && attempts[0].Outcome != ""
		})
		if m := s.full(a.RecordID); m.Status != "queued" || m.Attempts[0].Outcome != "throttled" {
			s.t.Errorf("got %s, want it to wait", s.last)
		}
		return
	}
	if m := s.arrives(p, a.RecordID); m.Doubtful {
		s.t.Error("the message is marked, though it surely went out once")
	}
	if taken, _ := s.taken(p, i); taken != 1 {
		s.t.Errorf("taken %d times", taken)
	}
}

// The provider takes the message and breaks the connection. Whether it is asked, tells later, or gets the message again:
// a repeat is marked.
func (s *system) providerHangsUp(p provider, i int) {
	s.t.Helper()
	mend := s.fault(p, `"unanswered": 1`)
	a := s.send(p, i)
	s.await(p.name+": the provider has taken it", 20*time.Second, func() bool {
		taken, _ := s.taken(p, i)
		return taken > 0
	})
	mend()
	m := s.arrives(p, a.RecordID)
	if taken, _ := s.taken(p, i); taken > 1 && !m.Doubtful {
		s.t.Errorf("taken %d times without the mark", taken)
	}
}

// receiptsOf plays with receipts: early, twice, out of order, forged, and bad news.
func (s *system) receiptsOf(p provider, i int) {
	s.t.Helper()
	mend := s.fault(p, `"receipt_early": 1, "receipt_doubled": 1, "receipt_disordered": 1, "receipt_forged": 1`)
	early := s.send(p, i)
	s.arrives(p, early.RecordID)
	mend()
	mend = s.fault(p, `"undelivered": 1`)
	bad := s.send(p, i+1)
	s.await(p.name+": the message is undelivered", 20*time.Second, func() bool { return s.full(bad.RecordID).Status == "undelivered" })
	mend()
	if m := s.full(early.RecordID); m.Status != "delivered" {
		s.t.Errorf("after later receipts the message is %s", m.Status)
	}
}

func (s *system) userWrites(p provider) {
	s.t.Helper()
	s.atSandbox(http.MethodPost, "/api/providers/"+p.name+"/events", p.writes)
	s.await(p.name+": the message of the user is listed", 10*time.Second, func() bool {
		list := get[struct {
			Items []struct{ Connector, From, Content string } `json:"items"`
		}](s, http.MethodGet, "/api/messages/inbound?connector="+p.connector(), nil)
		s.last = fmt.Sprintf("%+v", list)
		return len(list.Items) == 1 && list.Items[0].Content == "Hello" && list.Items[0].From != ""
	})
}

// Nobody but the provider can tell the gateway anything.
func (s *system) forgedCallback(p provider) {
	s.t.Helper()
	status, body, err := request(s.t.Context(), http.MethodPost, s.callback(p)+"?token=wrong&msg_signature=00&signature=00&timestamp=1&nonce=1",
		strings.NewReader(`{"forged": true}`))
	if err != nil || status/100 == 2 {
		s.t.Errorf("a forged callback is answered with %d, %v: %s", status, err, body)
	}
}

// Messages over all five channels at once, with receipts that come twice, early and out of order: each ends right, none is lost
// or sent twice, and the ledger agrees.
func TestAllChannelsAtOnce(t *testing.T) {
	t.Parallel() // most of it is waiting
	all := channels()
	s := startChannels(t, all, "-receipt-delay", "20ms")
	for _, p := range all {
		if p.receipts == "delivered" {
			s.fault(p, `"receipt_doubled": 0.5, "receipt_early": 0.1, "receipt_disordered": 0.2, "receipt_forged": 0.1, "undelivered": 0.1`)
		}
	}
	mail := provider{name: "main", channel: "email", recipient: func(_ *system, i int) any { return fmt.Sprintf("ann%d@example.com", i) }}
	all = append(all, mail)
	each := *channelMessages / len(all)
	batches := make([]batch, len(all))
	for n, p := range all {
		batches[n] = s.sendAll(p, each)
	}
	patience := 60*time.Second + time.Duration(*channelMessages)*2*time.Millisecond
	for n, p := range all {
		s.await(p.name+": every message has its receipt", patience, func() bool {
			progress := s.progress(batches[n])
			s.last = fmt.Sprint(p.name, " ", progress)
			return progress[p.ends()]+progress["undelivered"] == each
		})
	}
	for n, p := range all {
		s.agree(p, batches[n], each)
	}
}

// sendAll sends a code to the first n recipients of a provider.
func (s *system) sendAll(p provider, n int) batch {
	s.t.Helper()
	r := p.request(s, 0)
	delete(r, "recipient")
	recipients := make([]any, n)
	for i := range recipients {
		recipients[i] = p.recipient(s, i)
	}
	r["recipients"] = recipients
	b := get[batch](s, http.MethodPost, "/api/messages/send-batch", r)
	if b.Accepted != n {
		s.t.Fatalf("%s: %d of %d accepted: %+v", p.name, b.Accepted, n, b.Rejected[:min(3, len(b.Rejected))])
	}
	return b
}

// agree compares a batch with the ledger: each message was taken once, and undelivered are those that the provider says so of.
func (s *system) agree(p provider, b batch, n int) {
	s.t.Helper()
	outcomes := map[string]int{}
	seen := map[string]int{}
	for _, e := range s.ledger(p.channel) {
		if e.Provider == p.name || p.name == "main" {
			outcomes[e.Outcome]++
			seen[e.To]++
		}
	}
	for to, times := range seen {
		if times != 1 {
			s.t.Errorf("%s: %s is in the ledger %d times", p.name, to, times)
		}
	}
	progress := s.progress(b)
	if len(seen) != n || outcomes["delivered"]+outcomes["undelivered"] != n || progress["undelivered"] != outcomes["undelivered"] {
		s.t.Errorf("%s: %d recipients, the ledger says %v, the gateway %v; want %d in all", p.name, len(seen), outcomes, progress, n)
	}
}

// named returns the provider of a name.
func named(name string) provider {
	all := channels()
	return all[slices.IndexFunc(all, func(p provider) bool { return p.name == name })]
}

// A provider that fails sends nothing; its messages go out over the next one, once, and come back to the first when it is well.
func TestFailover(t *testing.T) {
	t.Parallel() // most of it is waiting
	first, second := named("twilio"), named("aliyun")
	second.block = "order = 1"
	s := startChannels(t, []provider{first, second}, "-receipt-delay", "20ms")
	send := func(i int) accepted {
		r := second.request(s, i)
		delete(r, "connector")
		r["content"], r["priority"] = "Your code is {{code}}", 10
		return get[accepted](s, http.MethodPost, "/api/messages/send", r)
	}
	mend := s.fault(first, `"error_rate": 1, "error_kind": "temporary"`)
	var sent []accepted
	for i := range 50 {
		sent = append(sent, send(i))
	}
	for i, a := range sent {
		if m := s.arrives(second, a.RecordID); m.Doubtful {
			t.Errorf("message %d is marked, though it surely went out once", i)
		}
		one, _ := s.taken(first, i)
		other, _ := s.taken(second, i)
		if one != 0 || other != 1 {
			t.Errorf("message %d: taken %d times by the first, %d times by the second", i, one, other)
		}
	}
	mend()
	s.await("the first has messages again", 60*time.Second, func() bool {
		i := 1000 + len(sent)
		sent = append(sent, send(i))
		s.arrives(second, sent[len(sent)-1].RecordID)
		taken, _ := s.taken(first, i)
		return taken == 1
	})
}

// Messages go where the routes of the connectors send them.
func TestRoutes(t *testing.T) {
	t.Parallel() // most of it is waiting
	china, world, own := named("aliyun"), named("twilio"), named("tencent")
	china.block = `route { countries = ["CN"] }`
	world.block = `order = 1`
	own.block = `route { provider_template = true }`
	own.recipient = func(_ *system, i int) any { return fmt.Sprintf("+447700900%03d", i) }
	s := startChannels(t, []provider{china, world, own}, "-receipt-delay", "20ms")
	send := func(p provider, i int, template string) provider {
		t.Helper()
		r := map[string]any{"channel": "sms", "recipient": p.recipient(s, i), "content": "Your code is 1"}
		if template != "" {
			r["provider_templates"] = map[string]any{template: map[string]any{"id": "1000", "parameters": map[string]string{"1": "1"}}}
		}
		s.arrives(p, get[accepted](s, http.MethodPost, "/api/messages/send", r).RecordID)
		return p
	}
	for i := range 5 {
		send(own, i, "sms/tencent")
		if taken, _ := s.taken(own, i); taken != 1 {
			t.Errorf("a message with a template of Tencent's went elsewhere")
		}
		british := own
		british.name = world.name
		send(british, 10+i, "")
		if taken, _ := s.taken(british, 10+i); taken != 1 {
			t.Errorf("a message to Britain went elsewhere than to the connector for the world")
		}
	}
}
