package pluginhost_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// behaviors are the plugins that the test binary can be. They speak the contract without the SDK,
// because the SDK would not let them break it.
func behaviors() map[string]func() {
	serve := func(change func(*fake)) func() {
		return func() {
			f := newFake()
			if change != nil {
				change(f)
			}
			f.serve(sdk.Handshake)
		}
	}
	return map[string]func(){
		"good":    serve(nil),
		"other":   serve(nil),
		"limited": serve(func(f *fake) { f.about.Limits = &channelv1.Limits{MaxBatch: 2, MaxMessageBytes: 100, MaxInFlight: 7} }),
		"null":    serve(func(f *fake) { f.null = true }),
		"bare":    serve(func(f *fake) { f.about.Capabilities = nil }),

		// These fail to start.
		"no-handshake": func() { die("who am I?", 4) },
		"slow":         func() { select {} },
		"cookie": func() {
			newFake().serve(goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "OTHER", MagicCookieValue: "x"})
		},
		"protocol": func() {
			h := sdk.Handshake
			h.ProtocolVersion = 7
			newFake().serve(h)
		},
		"core-protocol":  func() { greet("2|1|unix|%s/s|grpc|Y2VydA") },
		"tcp":            func() { greet("1|1|tcp|127.0.0.1:1|grpc|Y2VydA") },
		"elsewhere":      func() { greet("1|1|unix|/tmp/elsewhere.sock|grpc|Y2VydA") },
		"plaintext":      func() { greet("1|1|unix|%s/s|grpc|") },
		"misnamed":       serve(func(f *fake) { f.about.Name = "somebody-else" }),
		"contract":       serve(func(f *fake) { f.about.ApiVersions = []string{"channel.v9"} }),
		"bad-schema":     serve(func(f *fake) { f.about.ConfigSchema = []byte(`{"type": "object", "properties": 7}`) }),
		"far-schema":     serve(func(f *fake) { f.about.ConfigSchema = []byte(`{"type": "object", "$ref": "file:///etc/passwd"}`) }),
		"no-channel":     serve(func(f *fake) { f.about.Channels = nil }),
		"oversize":       serve(func(f *fake) { f.about.Build = strings.Repeat("x", 17<<20) }),
		"mute":           serve(func(f *fake) { f.silent = true }),
		"crash-on-start": func() { die("panic: no luck today", 3) },

		// These are what a new version of "good" may be; see installAs.
		"new":       serve(func(f *fake) { f.about.Name, f.about.Version = "good", "2.0.0" }),
		"refuses":   serve(func(f *fake) { f.about.Name, f.deeds = "good", "refuse" }),
		"blames":    serve(func(f *fake) { f.about.Name, f.deeds = "good", "blame" }),
		"crashes":   serve(func(f *fake) { f.about.Name, f.deeds = "good", "exit" }),
		"breaks":    serve(func(f *fake) { f.about.Name, f.deeds = "good", "double" }),
		"picky":     serve(func(f *fake) { f.about.Name, f.picky = "good", true }),
		"exclusive": serve(func(f *fake) { f.about.Name, f.about.Capabilities.ExclusiveSession = "good", true }),
		"locked": serve(func(f *fake) {
			f.about.Name, f.about.Capabilities.ExclusiveSession, f.locked = "good", true, true
		}),
		"thief": serve(func(f *fake) {
			f.about.Name, f.about.Capabilities.ExclusiveSession, f.thief = "good", true, true
		}),
		"clings": serve(func(f *fake) {
			f.about.Name, f.about.Capabilities.ExclusiveSession, f.clings = "good", true, true
		}),
		"faints": serve(func(f *fake) {
			f.about.Name, f.about.Capabilities.ExclusiveSession, f.faints = "good", true, true
		}),

		"sharing": serveSharing,

		// These start and misbehave.
		"noisy":      noisy,
		"stubborn":   stubborn,
		"grandchild": grandchild,
		"lingerer":   func() { select {} },
		"hostproc":   hostProcess,
	}
}

// die ends the plugin.
func die(lastWords string, code int) {
	fmt.Fprintln(realStderr, lastWords)
	os.Exit(code) //nolint:revive // to end is its purpose
}

// greet prints a handshake that nobody stands behind.
func greet(line string) {
	if strings.Contains(line, "%s") {
		line = fmt.Sprintf(line, os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
	}
	fmt.Fprintln(os.Stdout, line)
	select {}
}

// noisy writes what breaks a naive host: long lines and garbage around the handshake, and lines that
// look like hclog's JSON on standard error.
func noisy() {
	out, errs := os.Stdout, os.Stderr // go-plugin replaces both
	fmt.Fprintln(out, "loading …")
	fmt.Fprintln(out, strings.Repeat("x", 200<<10))
	fmt.Fprint(out, "ready in 3 ms ") // no line feed: the handshake follows on the same line
	f := newFake()
	f.noise = func() {
		fmt.Fprintln(os.Stdout, "printed while serving") // go-plugin carries this over gRPC
		for range 20 {
			fmt.Fprintln(out, strings.Repeat("y", 100<<10))
		}
		for _, line := range []string{
			`{"@message": 1, "@level": 2, "@timestamp": 3}`, `{"@message": null}`, `{`, `null`, "\xff\xfe",
			strings.Repeat("z", 300<<10), `{"@message":"` + strings.Repeat("m", 100<<10) + `","@level":"info"}`,
			`{"@message":"still here","@level":"warn","@module":"noisy","answer":42}`,
		} {
			fmt.Fprintln(errs, line)
		}
	}
	f.serve(sdk.Handshake)
}

// stubborn neither ends when go-plugin asks it to nor when it gets SIGTERM.
func stubborn() {
	signal.Ignore(syscall.SIGTERM)
	newFake().serve(sdk.Handshake)
	select {}
}

// grandchild leaves a process behind that holds its standard error and output.
func grandchild() {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"lingerer"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	f := newFake()
	f.child = cmd.Process.Pid
	f.serve(sdk.Handshake)
}

// fake is a plugin whose deeds are in the texts of the messages and the configs of the connectors.
type fake struct {
	channelv1.UnimplementedChannelServiceServer
	about  *channelv1.DescribeResponse
	silent bool   // never answers Describe
	null   bool   // accepts all of a batch at once
	deeds  string // what it does with every message, whatever the text says; "": that
	locked bool   // no provider lets it log in
	thief  bool   // it fails to log in, and keeps others from it
	clings bool   // it does not let go of a session
	faints bool   // it ends when it should log in
	picky  bool   // it takes no configuration
	noise  func() // made at each Check
	child  int

	mu      sync.Mutex
	configs map[string]fakeConfig
	changed chan struct{}
}

// fakeConfig is the config of a connector.
type fakeConfig struct {
	Token  string   `json:"token"`
	Keys   []string `json:"keys"`
	Fail   string   `json:"fail"`   // "validate", "configure", "crash", "hang", "tell"
	Health string   `json:"health"` // "down", "shaky"
	Emit   int      `json:"emit"`   // batches of events
	// Session is a file that only one process may hold, as a provider lets only one log in.
	Session string `json:"session"`

	callbackURL string // as the host told it
}

const fakeSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
	"properties": {
		"token": {"type": "string", "x-secret": true},
		"keys": {"type": "array", "items": {"$ref": "#/$defs/key"}}
	},
	"$defs": {"key": {"type": "string", "x-secret": true}}
}`

func newFake() *fake {
	name := os.Args[0][strings.LastIndexByte(os.Args[0], '/')+1:]
	return &fake{
		configs: map[string]fakeConfig{}, changed: make(chan struct{}),
		about: &channelv1.DescribeResponse{
			Name: name, Version: "1.0.0", ApiVersions: []string{sdk.APIVersion}, Channels: []string{"test"},
			ConfigSchema: []byte(fakeSchema), InstanceNonce: fmt.Sprint(os.Getpid()),
			Capabilities: &channelv1.Capabilities{
				Query: true, Callback: true, Receive: true, Receipts: true, Check: true, IdempotentSend: true,
			},
		},
	}
}

type fakePlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	service channelv1.ChannelServiceServer
}

func (p fakePlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	channelv1.RegisterChannelServiceServer(s, p.service)
	return nil
}

func (fakePlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("no client")
}

func (f *fake) serve(h goplugin.HandshakeConfig) {
	signal.Ignore(syscall.SIGTERM) // as the SDK does
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: h, Plugins: goplugin.PluginSet{sdk.PluginName: fakePlugin{service: f}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(16<<20))...)
		},
	})
}

func (f *fake) Describe(ctx context.Context, _ *channelv1.DescribeRequest) (*channelv1.DescribeResponse, error) {
	if f.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.about, nil
}

func (f *fake) ValidateConfig(ctx context.Context, r *channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
	var c fakeConfig
	if err := json.Unmarshal(r.GetConfig(), &c); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	response := &channelv1.ValidateConfigResponse{Diagnostics: []*channelv1.Diagnostic{
		{Severity: channelv1.Severity_SEVERITY_WARNING, Summary: "mind the gap"},
	}}
	if f.picky {
		c.Fail = "validate"
	}
	switch c.Fail {
	case "validate":
		response.Diagnostics = append(response.Diagnostics, &channelv1.Diagnostic{
			Severity: channelv1.Severity_SEVERITY_ERROR, Summary: "the port is not free", Detail: "Take another, not " + c.Token + ".",
			Path: []*channelv1.PathStep{
				{Step: &channelv1.PathStep_Name{Name: "servers"}},
				{Step: &channelv1.PathStep_Index{Index: 2}},
				{Step: &channelv1.PathStep_Name{Name: "port"}},
			},
		})
	case "crash":
		die("I do not like this configuration", 9)
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "tell":
		fmt.Fprintf(realStderr, "judged the token %s\n", c.Token)
	}
	return response, nil
}

// login takes the session that only one may hold. The provider notices when who held it is gone.
func (f *fake) login(c fakeConfig) error {
	switch {
	case c.Session == "":
		return nil
	case f.locked:
		return os.ErrPermission
	case f.faints:
		die("I cannot stand this", 6)
	}
	if holder, err := os.ReadFile(c.Session); err == nil {
		if pid, err := strconv.Atoi(string(holder)); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.Remove(c.Session)
		}
	}
	session, err := os.OpenFile(c.Session, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if f.thief {
		return errors.Join(os.ErrDeadlineExceeded, session.Close())
	}
	_, err = session.WriteString(strconv.Itoa(os.Getpid()))
	return errors.Join(err, session.Close())
}

func (f *fake) Configure(_ context.Context, r *channelv1.ConfigureRequest) (*channelv1.ConfigureResponse, error) {
	var c fakeConfig
	if err := json.Unmarshal(r.GetConfig(), &c); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if c.Token != "" {
		fmt.Fprintf(realStderr, "configured with token %s\n", c.Token)
		fmt.Fprintf(realStderr, `{"@message":"keys are %s","@level":"info","token":%q}`+"\n", strings.Join(c.Keys, ","), c.Token)
	}
	if c.Fail == "configure" {
		return &channelv1.ConfigureResponse{Diagnostics: []*channelv1.Diagnostic{
			{Severity: channelv1.Severity_SEVERITY_ERROR, Summary: "the provider is away"},
		}}, nil
	}
	if err := f.login(c); err != nil {
		return &channelv1.ConfigureResponse{Diagnostics: []*channelv1.Diagnostic{
			{Severity: channelv1.Severity_SEVERITY_ERROR, Summary: "the provider refuses a second session"},
		}}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.callbackURL = r.GetCallbackUrl()
	f.configs[r.GetConnector()] = c
	close(f.changed)
	f.changed = make(chan struct{})
	return &channelv1.ConfigureResponse{}, nil
}

// realStderr is the process's own: go-plugin replaces os.Stderr by a pipe of its own.
var realStderr = os.NewFile(2, "stderr")

func (f *fake) Remove(_ context.Context, r *channelv1.RemoveRequest) (*channelv1.RemoveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if session := f.configs[r.GetConnector()].Session; session != "" {
		if f.clings {
			return nil, status.Error(codes.Internal, "not yet")
		}
		if err := os.Remove(session); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	delete(f.configs, r.GetConnector())
	return &channelv1.RemoveResponse{}, nil
}

// Check tells what the process sees: its environment, its standard input, its child.
func (f *fake) Check(context.Context, *channelv1.CheckRequest) (*channelv1.CheckResponse, error) {
	if f.noise != nil {
		f.noise()
	}
	input, err := io.ReadAll(os.Stdin)
	// The certificate of the connection is long and no secret of the gateway's.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PLUGIN_CLIENT_CERT=") })
	return &channelv1.CheckResponse{Ok: true, Message: fmt.Sprintf(
		"child=%d stdin=%q,%v env=%q", f.child, input, err, env,
	)}, nil
}

func (f *fake) Health(_ *channelv1.HealthRequest, s channelv1.ChannelService_HealthServer) error {
	for {
		f.mu.Lock()
		changed := f.changed
		h := &channelv1.HealthResponse{State: channelv1.HealthState_HEALTH_STATE_SERVING}
		for id, c := range f.configs {
			state := map[string]channelv1.HealthState{"down": 3, "shaky": 2, "": 1}[c.Health]
			h.Connectors = append(h.Connectors, &channelv1.ConnectorHealth{Connector: id, State: state, Message: c.Health})
		}
		f.mu.Unlock()
		if err := s.Send(h); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return nil
		}
	}
}

func (f *fake) Deliver(r *channelv1.DeliverRequest, s channelv1.ChannelService_DeliverServer) error {
	if f.null {
		return s.Send(acceptAll(r))
	}
	for _, item := range r.GetItems() {
		stop, err := f.obey(item, s)
		if stop || err != nil {
			return err
		}
	}
	return nil
}

func acceptAll(r *channelv1.DeliverRequest) *channelv1.DeliverResponse {
	response := &channelv1.DeliverResponse{}
	for _, item := range r.GetItems() {
		response.Results = append(response.Results, &channelv1.Result{
			AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome_OUTCOME_ACCEPTED, ProviderIds: []string{item.GetMessageId()},
		})
	}
	return response
}

// obey does what the text of the item says.
func (f *fake) obey(item *channelv1.Item, s channelv1.ChannelService_DeliverServer) (stop bool, err error) {
	accepted := &channelv1.Result{
		AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome_OUTCOME_ACCEPTED,
		ProviderIds: []string{fmt.Sprintf("%s@%d", item.GetAttemptId(), os.Getpid())},
	}
	reply := func(rs ...*channelv1.Result) error { return s.Send(&channelv1.DeliverResponse{Results: rs}) }
	deed, argument, _ := strings.Cut(cmp.Or(f.deeds, item.GetContent().GetText()), ":")
	switch deed {
	case "blame":
		return false, reply(&channelv1.Result{
			AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome_OUTCOME_REJECTED,
			Error: &channelv1.Error{Code: "invalid_recipient", Message: "nobody there", Fault: channelv1.Fault_FAULT_MESSAGE},
		})
	case "refuse":
		return false, reply(&channelv1.Result{
			AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome_OUTCOME_REJECTED,
			Error: &channelv1.Error{Code: "broken", Message: "this build is broken", Fault: channelv1.Fault_FAULT_PLUGIN},
		})
	case "double":
		return false, errors.Join(reply(accepted), reply(accepted))
	case "foreign":
		return false, reply(&channelv1.Result{AttemptId: "999.1", Outcome: 1}, &channelv1.Result{AttemptId: "nonsense"}, accepted)
	case "missing":
		return false, nil
	case "odd":
		return false, reply(&channelv1.Result{AttemptId: item.GetAttemptId(), Outcome: 42})
	case "negative":
		return false, reply(&channelv1.Result{
			AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome_OUTCOME_THROTTLED, RetryAfter: durationpb.New(-5 * time.Second),
			Error: &channelv1.Error{Code: "slow_down", Message: "NUL \x00 and " + strings.Repeat("long ", 10_000), Fault: channelv1.Fault_FAULT_PROVIDER},
		})
	case "big":
		return false, reply(&channelv1.Result{AttemptId: item.GetAttemptId(), Outcome: 1, ProviderIds: []string{strings.Repeat("x", 17<<20)}})
	case "fail":
		return true, status.Error(codes.Internal, "boom")
	case "exit":
		die("I do not like this message", 5)
	case "hold": // until the caller gives up
		<-s.Context().Done()
		return true, s.Context().Err()
	case "linger": // a result, and no end of the stream
		if err := reply(accepted); err != nil {
			return true, err
		}
		<-s.Context().Done()
		return true, nil
	case "wait": // for the test to open the named pipe
		pipe, err := os.Open(argument)
		if err != nil {
			return true, err
		}
		return false, errors.Join(pipe.Close(), reply(accepted))
	}
	return false, reply(accepted)
}

func (f *fake) Query(_ context.Context, r *channelv1.QueryRequest) (*channelv1.QueryResponse, error) {
	response := &channelv1.QueryResponse{Results: []*channelv1.Result{{AttemptId: "999.1", Outcome: 1}}}
	for _, item := range r.GetItems() {
		if item.GetIdempotencyKey() == "known" {
			response.Results = append(response.Results, &channelv1.Result{AttemptId: item.GetAttemptId(), Outcome: 1, ProviderIds: item.GetProviderIds()})
		}
	}
	return response, nil
}

func (f *fake) HandleCallback(_ context.Context, r *channelv1.HandleCallbackRequest) (*channelv1.HandleCallbackResponse, error) {
	f.mu.Lock()
	at := f.configs[r.GetConnector()].callbackURL
	f.mu.Unlock()
	status, header := int32(202), []string{r.GetMethod(), r.GetPath(), r.GetQuery(), at}
	if r.GetPath() == "/odd" {
		status = 7
	}
	return &channelv1.HandleCallbackResponse{
		Status: status, Headers: []*channelv1.Header{{Name: "X-Seen", Values: header}}, Body: r.GetBody(),
		Events: &channelv1.Events{
			Receipts: []*channelv1.Receipt{
				{ProviderId: "p1", AttemptId: "12.3", Status: channelv1.ReceiptStatus_RECEIPT_STATUS_DELIVERED, DedupeKey: "d1"},
				{ProviderId: "p2", Status: 77},
			},
			Inbound: []*channelv1.Inbound{{From: "+1", To: "+2", Text: "STOP"}},
		},
	}, nil
}

// Receive sends the batches that the connectors ask for, each after the one before was acknowledged.
func (f *fake) Receive(s channelv1.ChannelService_ReceiveServer) error {
	sequence := int64(0)
	for {
		request, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the gateway is gone
		}
		if request.GetAck() != sequence {
			return status.Errorf(codes.FailedPrecondition, "ack %d for %d", request.GetAck(), sequence)
		}
		id, ok := f.emitter(s.Context(), sequence)
		if !ok {
			<-s.Context().Done()
			return nil
		}
		sequence++
		if err := s.Send(&channelv1.ReceiveResponse{Sequence: sequence, Connector: id, Events: &channelv1.Events{
			Receipts: []*channelv1.Receipt{{
				ProviderId: fmt.Sprintf("p%d", sequence), Status: channelv1.ReceiptStatus_RECEIPT_STATUS_READ, DedupeKey: fmt.Sprint(sequence),
			}},
		}}); err != nil {
			return err
		}
	}
}

// emitter awaits a connector that emits events. The first batch names a connector of somebody else.
func (f *fake) emitter(ctx context.Context, sent int64) (string, bool) {
	for {
		f.mu.Lock()
		changed := f.changed
		for id, c := range f.configs {
			if c.Emit > 0 {
				f.mu.Unlock()
				if sent == 0 {
					id = "test/somebody-else"
				}
				return id, sent < int64(c.Emit)
			}
		}
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", false
		}
	}
}

func (f *fake) Drain(_ *channelv1.DrainRequest, s channelv1.ChannelService_DrainServer) error {
	fmt.Fprintln(realStderr, "drained")
	return errors.Join(s.Send(&channelv1.DrainResponse{InFlight: 1}), s.Send(&channelv1.DrainResponse{Done: true}))
}
