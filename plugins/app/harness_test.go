package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apnsdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	fcmdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	huaweidouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/huawei"
	webpushdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// settings is a connector's config as the gateway hands it over.
type settings = map[string]any

func with(base settings, edits settings) settings {
	out := maps.Clone(base)
	maps.Copy(out, edits)
	return out
}

// memoryDesk is what the doubles of the providers work at.
type memoryDesk struct {
	mu        sync.Mutex
	taken     []desk.Message
	decision  desk.Decision // for every message that the provider does not refuse itself
	receipts  []desk.Receipt
	callbacks []desk.Callback
	ids       int
}

func (d *memoryDesk) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, m)
	if m.Refused != "" {
		return desk.Decision{Answer: desk.Refuse, Code: m.Refused}, nil
	}
	if callback != nil {
		for _, r := range d.receipts {
			r.ProviderID = m.ProviderID
			d.callbacks = append(d.callbacks, callback(r))
		}
	}
	return d.decision, nil
}

func (d *memoryDesk) Send(c desk.Callback) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.callbacks = append(d.callbacks, c)
}

func (d *memoryDesk) NewID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids++
	return strconv.Itoa(d.ids)
}

// decide makes the doubles answer like that from now on.
func (d *memoryDesk) decide(decision desk.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decision = decision
}

func (d *memoryDesk) messages() []desk.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.taken)
}

// last is the message that came last.
func (d *memoryDesk) last(t *testing.T) desk.Message {
	t.Helper()
	all := d.messages()
	if len(all) == 0 {
		t.Fatal("no message has come")
	}
	return all[len(all)-1]
}

// doubles are the sandbox's doubles of the four providers, at one server.
type doubles struct {
	*memoryDesk

	server                     *httptest.Server
	authority                  string // PEM, of a server with TLS
	fcm, apns, webpush, huawei desk.Provider

	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
	before   func(rw http.ResponseWriter, r *http.Request) bool // answers instead of the double
}

// startDoubles serves HTTP/1 and HTTP/2 in clear, as the sandbox does, or over TLS.
func startDoubles(t *testing.T, secure bool) *doubles {
	t.Helper()
	d := &doubles{memoryDesk: &memoryDesk{}}
	d.fcm, d.apns, d.webpush, d.huawei = fcmdouble.New(d), apnsdouble.New(d), webpushdouble.New(d), huaweidouble.New(d)
	mux := http.NewServeMux()
	for _, p := range []desk.Provider{d.fcm, d.apns, d.webpush, d.huawei} {
		p.Register(mux)
	}
	d.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { d.serve(mux, rw, r) }))
	d.server.Config.Protocols = new(http.Protocols)
	d.server.Config.Protocols.SetHTTP1(true)
	d.server.Config.Protocols.SetHTTP2(true)
	d.server.Config.Protocols.SetUnencryptedHTTP2(true)
	if secure {
		var certificate tls.Certificate
		certificate, d.authority = makeCertificate(t)
		d.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
		d.server.EnableHTTP2 = true
		d.server.StartTLS()
	} else {
		d.server.Start()
	}
	t.Cleanup(d.server.Close)
	return d
}

func (d *doubles) serve(mux http.Handler, rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.requests, d.bodies = append(d.requests, r), append(d.bodies, body)
	before := d.before
	d.mu.Unlock()
	if before != nil && before(rw, r) {
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	mux.ServeHTTP(rw, r)
}

// instead answers requests before the doubles do; false leaves one to them.
func (d *doubles) instead(before func(rw http.ResponseWriter, r *http.Request) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = before
}

// seen counts the requests to a path.
func (d *doubles) seen(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.requests {
		if strings.HasPrefix(r.URL.Path, path) {
			n++
		}
	}
	return n
}

// lastRequest is the last one to a path, with its body.
func (d *doubles) lastRequest(t *testing.T, path string) (*http.Request, []byte) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, r := range slices.Backward(d.requests) {
		if strings.HasPrefix(r.URL.Path, path) {
			return r, d.bodies[i]
		}
	}
	t.Fatalf("no request to %s", path)
	return nil, nil
}

// play makes an event happen at a provider.
func play(t *testing.T, p desk.Provider, event string) {
	t.Helper()
	if err := p.Play(t.Context(), json.RawMessage(event)); err != nil {
		t.Fatal(err)
	}
}

func configure(t *testing.T, p desk.Provider, given string) {
	t.Helper()
	if err := p.Set(json.RawMessage(given)); err != nil {
		t.Fatal(err)
	}
}

// makeCertificate makes one for this machine and for the names of Google's servers, and its authority as PEM.
func makeCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "doubles"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost", "fcm.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// configs of connectors of the four providers, for the doubles.
func (d *doubles) fcmConfig() settings {
	return settings{"fcm": settings{"service_account": fcmdouble.ServiceAccount, "base_url": d.server.URL, "token_url": d.server.URL + "/token"}}
}

func (d *doubles) apnsConfig() settings {
	return settings{"apns": settings{
		"private_key": apnsdouble.PrivateKey, "key_id": apnsdouble.KeyID, "team_id": apnsdouble.TeamID, "topic": apnsdouble.Topic, "base_url": d.server.URL,
	}}
}

func (d *doubles) webpushConfig() settings {
	return settings{"webpush": settings{
		"private_key": webpushdouble.PrivateKey, "public_key": webpushdouble.PublicKey, "subject": "mailto:ops@example.com", "private": true,
		"hosts": []string{"127.0.0.1"}, // the double counts as a push service
	}}
}

func (d *doubles) huaweiConfig() settings {
	return settings{"title": "Shop", "huawei": settings{
		"client_id": huaweidouble.ClientID, "client_secret": huaweidouble.ClientSecret, "base_url": d.server.URL, "token_url": d.server.URL + "/oauth2/v3/token",
		"callback_user": huaweidouble.CallbackUser, "callback_key": huaweidouble.CallbackKey,
	}}
}

// connect opens a connector as the gateway does, so that the SDK fills in the defaults.
func connect(t *testing.T, given settings) *connector {
	t.Helper()
	var opened *connector
	p := plugin()
	p.Open = func(ctx context.Context, c config) (sdk.Sender, error) {
		var err error
		opened, err = open(ctx, c)
		return opened, err
	}
	server := sdk.NewServer(p)
	server.LogTo(io.Discard)
	t.Cleanup(server.Close)
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "app/main", Revision: 1, Config: text})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.GetDiagnostics() {
		t.Fatalf("%s: %s: %s", pathOf(d), d.GetSummary(), d.GetDetail())
	}
	t.Cleanup(func() { opened.Close() })
	return opened
}

// diagnose returns what the plugin says about a config, as "path: summary; detail".
func diagnose(t *testing.T, given settings) []string {
	t.Helper()
	server := sdk.NewServer(plugin())
	server.LogTo(io.Discard)
	defer server.Close()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: text, Channel: "app"})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range resp.GetDiagnostics() {
		out = append(out, fmt.Sprintf("%s: %s; %s", pathOf(d), d.GetSummary(), d.GetDetail()))
	}
	return out
}

func pathOf(d *channelv1.Diagnostic) string {
	var b strings.Builder
	for _, s := range d.GetPath() {
		switch s := s.GetStep().(type) {
		case *channelv1.PathStep_Name:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Name)
		case *channelv1.PathStep_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return b.String()
}

// device is a token that APNs may have given out.
const device = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"

// message is one of a usual kind.
func message(to string, edits ...func(*sdk.Message)) *sdk.Message {
	m := &sdk.Message{
		ID: "msg_1", AttemptID: "7:2", IdempotencyKey: "key-1", Connector: "app/main", Recipient: to,
		Attempt: 2, Priority: 5, Content: sdk.Content{Plain: "Your order 123 is on its way 🚚", Subject: "Order"},
	}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

func attributes(a map[string]string) func(*sdk.Message) {
	return func(m *sdk.Message) { m.Attributes = a }
}

// said is an error in short: "rejected unregistered UNREGISTERED message".
func said(err error) string {
	if err == nil {
		return "accepted"
	}
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return "no outcome: " + err.Error()
	}
	faults := map[sdk.Fault]string{sdk.FaultMessage: "message", sdk.FaultProvider: "provider", sdk.FaultConfig: "config", sdk.FaultPlugin: "plugin"}
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", e.Outcome, e.Code, e.ProviderCode, faults[e.Fault])), " ")
}

// subscription is that of a browser at the double.
func (d *doubles) subscription(name string) string {
	return webpushdouble.Subscription(d.server.URL, name)
}

// rsaKey is a private key that is not one of APNs.
func rsaKey(t *testing.T) string {
	t.Helper()
	var account struct {
		Key string `json:"private_key"`
	}
	if err := json.Unmarshal([]byte(fcmdouble.ServiceAccount), &account); err != nil {
		t.Fatal(err)
	}
	return account.Key
}
