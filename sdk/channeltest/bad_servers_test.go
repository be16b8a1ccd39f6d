package channeltest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

type config struct {
	Host  string     `cfg:"host,required"`
	Token sdk.Secret `cfg:"token,required"`
}

// channel does what its recipient says.
type channel struct{}

func (channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	switch m.Recipient {
	case "slow":
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return sdk.Receipt{}, ctx.Err()
		}
	case "panic":
		panic("as asked")
	}
	return sdk.Receipt{}, nil
}

func (channel) Check(context.Context) error { return nil }

func good() *sdk.Server {
	return sdk.NewServer(sdk.Plugin[config]{
		Name: "good", Version: "1.0.0", Prototype: channel{},
		Open: func(context.Context, config) (sdk.Sender, error) { return channel{}, nil },
	})
}

func suite(server func() channeltest.Server) channeltest.Suite {
	return channeltest.Suite{
		Plugin: server,
		Config: map[string]any{"host": "localhost", "token": "s3cret-token"},
		Slow:   channeltest.To("slow"), Panics: channeltest.To("panic"),
	}
}

// A plugin made with the SDK passes in process as well.
func TestGoodServer(t *testing.T) {
	channeltest.Run(t, suite(func() channeltest.Server { return good() }))
}

// A plugin that takes few messages at a time passes as well: the kit keeps to its limits, as the gateway does.
func TestFewAtATime(t *testing.T) {
	for limit := 1; limit <= 4; limit++ {
		for _, name := range []string{"one result per attempt", "expired items unsent", "deadline honoured", "concurrent batches", "a panic costs one item", "drain"} {
			t.Run(fmt.Sprint(limit, " ", name), func(t *testing.T) {
				t.Parallel()
				s, err := channeltest.NewSubject(suite(func() channeltest.Server { return strict(limit) }))
				if err != nil {
					t.Fatal(err)
				}
				err = run(t, s, name)
				if _, skipped := errors.AsType[*channeltest.SkipError](err); err != nil && !skipped {
					t.Error(err)
				}
			})
		}
	}
}

// strict is a good server but for this: what is more than its limit it gives back.
func strict(limit int) channeltest.Server {
	server := sdk.NewServer(sdk.Plugin[config]{
		Name: "good", Version: "1.0.0", Prototype: channel{}, Limits: sdk.Limits{MaxInFlight: limit},
		Open: func(context.Context, config) (sdk.Sender, error) { return channel{}, nil },
	})
	b := &bad{Server: server}
	slots := make(chan struct{}, limit)
	b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
		taken := 0
		defer func() {
			for range taken {
				<-slots
			}
		}()
		for range req.GetItems() {
			select {
			case slots <- struct{}{}:
				taken++
			default:
				return status.Error(codes.ResourceExhausted, "more than max_in_flight")
			}
		}
		return b.Server.Deliver(req, r)
	}
	return b
}

// bad is a good server with one method replaced.
type bad struct {
	*sdk.Server
	describe  func(*channelv1.DescribeResponse)
	validate  func(*channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error)
	configure func(*channelv1.ConfigureRequest)
	check     func() (*channelv1.CheckResponse, error)
	remove    func(*channelv1.RemoveRequest)
	deliver   func(*channelv1.DeliverRequest, *results) error
	health    func(grpc.ServerStreamingServer[channelv1.HealthResponse]) error
	drain     func(grpc.ServerStreamingServer[channelv1.DrainResponse]) error
	logs      io.Writer
}

// results is the stream of the good server on its way through a bad one.
type results struct {
	grpc.ServerStreamingServer[channelv1.DeliverResponse]
	change func(*channelv1.DeliverResponse) []*channelv1.Result
}

func (r *results) Send(resp *channelv1.DeliverResponse) error {
	if r.change != nil {
		resp.Results = r.change(resp)
	}
	return r.ServerStreamingServer.Send(resp)
}

func (b *bad) NewGRPCServer() *grpc.Server {
	g := grpc.NewServer()
	channelv1.RegisterChannelServiceServer(g, b)
	return g
}

func (b *bad) LogTo(w io.Writer) {
	b.logs = w
	b.Server.LogTo(w)
}

func (b *bad) Describe(ctx context.Context, req *channelv1.DescribeRequest) (*channelv1.DescribeResponse, error) {
	resp, err := b.Server.Describe(ctx, req)
	resp = proto.CloneOf(resp)
	if b.describe != nil {
		b.describe(resp)
	}
	return resp, err
}

func (b *bad) ValidateConfig(ctx context.Context, req *channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
	if b.validate != nil {
		return b.validate(req)
	}
	return b.Server.ValidateConfig(ctx, req)
}

func (b *bad) Configure(ctx context.Context, req *channelv1.ConfigureRequest) (*channelv1.ConfigureResponse, error) {
	if b.configure != nil {
		b.configure(req)
	}
	return b.Server.Configure(ctx, req)
}

func (b *bad) Check(ctx context.Context, req *channelv1.CheckRequest) (*channelv1.CheckResponse, error) {
	if b.check != nil {
		return b.check()
	}
	return b.Server.Check(ctx, req)
}

func (b *bad) Remove(ctx context.Context, req *channelv1.RemoveRequest) (*channelv1.RemoveResponse, error) {
	if b.remove != nil {
		b.remove(req)
	}
	return b.Server.Remove(ctx, req)
}

func (b *bad) Deliver(req *channelv1.DeliverRequest, stream grpc.ServerStreamingServer[channelv1.DeliverResponse]) error {
	r := &results{ServerStreamingServer: stream}
	if b.deliver != nil {
		return b.deliver(req, r)
	}
	return b.Server.Deliver(req, r)
}

func (b *bad) Health(req *channelv1.HealthRequest, stream grpc.ServerStreamingServer[channelv1.HealthResponse]) error {
	if b.health != nil {
		return b.health(stream)
	}
	return b.Server.Health(req, stream)
}

func (b *bad) Drain(req *channelv1.DrainRequest, stream grpc.ServerStreamingServer[channelv1.DrainResponse]) error {
	if b.drain != nil {
		return b.drain(stream)
	}
	return b.Server.Drain(req, stream)
}

// reshape passes the batch on and changes its results.
func (b *bad) reshape(change func(*channelv1.DeliverResponse) []*channelv1.Result) {
	b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
		r.change = change
		return b.Server.Deliver(req, r)
	}
}

// answer gives every item this outcome without sending it.
func (b *bad) answer(outcome channelv1.Outcome) {
	b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
		resp := &channelv1.DeliverResponse{}
		for _, item := range req.GetItems() {
			resp.Results = append(resp.Results, &channelv1.Result{AttemptId: item.GetAttemptId(), Outcome: outcome})
		}
		return r.Send(resp)
	}
}

// Every case can fail: for each there is a server that breaks what the case guards, and the error
// says what is wrong.
func TestBadServers(t *testing.T) {
	for _, tt := range []struct {
		fault, name, says string
		spoil             func(*bad)
	}{
		{"no name", "handshake", "the name in Describe is empty", func(b *bad) {
			b.describe = func(d *channelv1.DescribeResponse) { d.Name = "" }
		}},
		{"another contract", "handshake", "lack channel.v1", func(b *bad) {
			b.describe = func(d *channelv1.DescribeResponse) { d.ApiVersions = []string{"channel.v9"} }
		}},
		{"the same nonce in every instance", "handshake", "same nonce", func(b *bad) {
			b.describe = func(d *channelv1.DescribeResponse) { d.InstanceNonce = "1" }
		}},
		{"a schema that is none", "schema", "not valid", func(b *bad) {
			b.describe = func(d *channelv1.DescribeResponse) {
				d.ConfigSchema = []byte(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "objekt"}`)
			}
		}},
		{"a schema of another config", "schema", "does not allow", func(b *bad) {
			b.describe = func(d *channelv1.DescribeResponse) {
				d.ConfigSchema = []byte(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "required": ["port"]}`)
			}
		}},
		{"every config is fine", "bad config", "no error diagnostic", func(b *bad) {
			b.validate = func(*channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
				return &channelv1.ValidateConfigResponse{}, nil
			}
		}},
		{"no path", "bad config", `points at "channeltest_unknown"`, func(b *bad) {
			b.validate = func(*channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
				return &channelv1.ValidateConfigResponse{Diagnostics: []*channelv1.Diagnostic{
					{Severity: channelv1.Severity_SEVERITY_ERROR, Summary: "something is wrong"},
				}}, nil
			}
		}},
		{"an older revision wins", "revisions", "takes revision 4", func(b *bad) {
			b.configure = func(req *channelv1.ConfigureRequest) { req.Revision = 7 }
		}},
		{"Check fails", "check", "login failed", func(b *bad) {
			b.check = func() (*channelv1.CheckResponse, error) {
				return &channelv1.CheckResponse{Message: "login failed"}, nil
			}
		}},
		{"two results", "one result per attempt", "has two", func(b *bad) {
			b.reshape(func(r *channelv1.DeliverResponse) []*channelv1.Result {
				return append(r.GetResults(), r.GetResults()[0])
			})
		}},
		{"no result", "one result per attempt", "has none", func(b *bad) {
			b.reshape(func(r *channelv1.DeliverResponse) []*channelv1.Result { return r.GetResults()[1:] })
		}},
		{"a result for somebody else", "one result per attempt", "not in the batch", func(b *bad) {
			b.reshape(func(r *channelv1.DeliverResponse) []*channelv1.Result {
				return append(r.GetResults(), &channelv1.Result{AttemptId: "else", Outcome: channelv1.Outcome_OUTCOME_ACCEPTED})
			})
		}},
		{"no outcome", "one result per attempt", "no outcome", func(b *bad) { b.answer(channelv1.Outcome_OUTCOME_UNSPECIFIED) }},
		{"sends through anything", "unknown connector", "want outcome retryable", func(b *bad) {
			b.answer(channelv1.Outcome_OUTCOME_ACCEPTED)
		}},
		{"sends what has expired", "expired items unsent", "want outcome rejected", func(b *bad) {
			b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
				for _, item := range req.GetItems() {
					item.NotAfter = nil
				}
				return b.Server.Deliver(req, r)
			}
		}},
		{"claims success at the deadline", "deadline honoured", "deadline of 800ms came first", func(b *bad) {
			b.answer(channelv1.Outcome_OUTCOME_ACCEPTED)
		}},
		{"knows what nobody does", "deadline honoured", "want uncertain, for the provider may have it", func(b *bad) {
			b.answer(channelv1.Outcome_OUTCOME_RETRYABLE)
		}},
		{"one at a time, and the second fails", "concurrent batches", "busy", func(b *bad) {
			busy, refused := make(chan struct{}, 1), make(chan struct{}, 8)
			b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
				select {
				case busy <- struct{}{}:
				default:
					refused <- struct{}{}
					return status.Error(codes.ResourceExhausted, "busy")
				}
				<-refused
				return b.Server.Deliver(req, r)
			}
		}},
		{"a panic costs the batch", "a panic costs one item", "item 1 of 5", func(b *bad) {
			b.answer(channelv1.Outcome_OUTCOME_UNCERTAIN)
		}},
		{"Remove does nothing", "remove", "after Remove", func(b *bad) {
			b.remove = func(req *channelv1.RemoveRequest) { req.Connector = "another" }
		}},
		{"health comes late", "health", "no state at once", func(b *bad) {
			b.health = func(s grpc.ServerStreamingServer[channelv1.HealthResponse]) error {
				<-s.Context().Done()
				return nil
			}
		}},
		{"health never changes", "health", "does not show up", func(b *bad) {
			b.health = func(s grpc.ServerStreamingServer[channelv1.HealthResponse]) error {
				err := s.Send(&channelv1.HealthResponse{State: channelv1.HealthState_HEALTH_STATE_SERVING})
				<-s.Context().Done()
				return err
			}
		}},
		{"Drain is ignored", "drain", "after Drain", func(b *bad) {
			b.drain = func(s grpc.ServerStreamingServer[channelv1.DrainResponse]) error {
				return s.Send(&channelv1.DrainResponse{Done: true})
			}
		}},
		{"Drain never ends well", "drain", "without saying done", func(b *bad) {
			b.drain = func(grpc.ServerStreamingServer[channelv1.DrainResponse]) error { return nil }
		}},
		{"Drain gives up", "drain", "with 3 items in flight", func(b *bad) {
			b.drain = func(s grpc.ServerStreamingServer[channelv1.DrainResponse]) error {
				return s.Send(&channelv1.DrainResponse{Done: true, InFlight: 3})
			}
		}},
		{"results wait for the slowest", "drain", "must not wait for slow ones", func(b *bad) {
			b.deliver = func(req *channelv1.DeliverRequest, r *results) error {
				var all []*channelv1.Result
				r.change = func(resp *channelv1.DeliverResponse) []*channelv1.Result {
					all = append(all, resp.GetResults()...)
					if len(all) < len(req.GetItems()) {
						return nil
					}
					return all
				}
				return b.Server.Deliver(req, r)
			}
		}},
		{"a secret in an error", "no secret in any log", "<the secret>", func(b *bad) {
			b.check = func() (*channelv1.CheckResponse, error) {
				return nil, status.Error(codes.Unavailable, "401 for s3cret-token")
			}
		}},
		{"a secret in the log", "no secret in any log", "<the secret>", func(b *bad) {
			b.configure = func(req *channelv1.ConfigureRequest) {
				var c map[string]any
				_ = json.Unmarshal(req.GetConfig(), &c)
				_ = json.NewEncoder(b.logs).Encode(c)
			}
		}},
	} {
		t.Run(tt.name+"/"+tt.fault, func(t *testing.T) {
			t.Parallel()
			s, err := channeltest.NewSubject(suite(func() channeltest.Server {
				b := &bad{Server: good()}
				tt.spoil(b)
				return b
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := run(t, s, tt.name); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want an error with %q, got: %v", tt.says, err)
			}
		})
	}
}

// A suite must say what to test.
func TestNewSubject(t *testing.T) {
	both := suite(func() channeltest.Server { return good() })
	both.Binary = "x"
	for name, s := range map[string]channeltest.Suite{"nothing": {}, "both": both} {
		if _, err := channeltest.NewSubject(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
