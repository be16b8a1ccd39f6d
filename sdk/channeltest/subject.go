package channeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// startTimeout is how long a plugin may take until it can be called.
const startTimeout = 10 * time.Second

// Subject is the plugin under test. Each case starts it anew.
type Subject struct {
	Suite
	// Note takes what is worth knowing but no fault.
	Note func(format string, args ...any)

	ids    atomic.Int64 // numbers the items
	output transcript   // all that any of the sessions printed, and every error text
	shared sharedValues // what its processes share
}

// NewSubject checks the suite.
func NewSubject(suite Suite) (*Subject, error) {
	if (suite.Binary == "") == (suite.Plugin == nil) {
		return nil, errors.New("channeltest: set exactly one of Suite.Binary and Suite.Plugin")
	}
	if suite.Recipient == "" {
		suite.Recipient = "channeltest"
	}
	return &Subject{Suite: suite, Note: func(string, ...any) {}}, nil
}

// session is one start of the plugin.
type session struct {
	channelv1.ChannelServiceClient
	subject   *Subject
	process   *process // nil in process
	sharing   *sharing // nil where the plugin does not describe it
	connector string
	about     *channelv1.DescribeResponse
	close     func()
}

// start starts the plugin and asks who it is.
func (s *Subject) start(ctx context.Context) (*session, error) {
	open := s.startInProcess
	if s.Binary != "" {
		open = s.startBinary
	}
	sess, err := open()
	if err != nil {
		return nil, fmt.Errorf("start the plugin: %w", err)
	}
	if sess.about, err = sess.Describe(ctx, &channelv1.DescribeRequest{}); err != nil {
		sess.close()
		return nil, fmt.Errorf("call Describe: %w", err)
	}
	sess.connector = s.channel(sess.about) + "/channeltest"
	if sess.about.GetCapabilities().GetShare() {
		if err := sess.openShare(ctx); err != nil {
			sess.close()
			return nil, fmt.Errorf("call Share: %w", err)
		}
	}
	return sess, nil
}

// ready starts the plugin and opens a connector with the suite's config.
func (s *Subject) ready(ctx context.Context) (*session, error) {
	sess, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := sess.configure(ctx, 1, s.Config); err != nil {
		sess.close()
		return nil, err
	}
	return sess, nil
}

func (s *Subject) channel(about *channelv1.DescribeResponse) string {
	if s.Channel != "" {
		return s.Channel
	}
	if channels := about.GetChannels(); len(channels) > 0 {
		return channels[0]
	}
	return about.GetName()
}

// configure opens the connector; an error diagnostic is an error.
func (sess *session) configure(ctx context.Context, revision int64, config map[string]any) error {
	resp, err := sess.Configure(ctx, &channelv1.ConfigureRequest{
		Connector: sess.connector, Revision: revision, Config: encode(config), CallbackUrl: sess.callbackURL(),
	})
	if err != nil {
		return sess.saw(fmt.Errorf("call Configure: %w", err))
	}
	sess.heard(resp)
	if d := firstError(resp.GetDiagnostics()); d != nil {
		return fmt.Errorf("call Configure: it refused the config: %s", show(d))
	}
	return nil
}

// callbackURL is where a provider would reach the connector. Nobody listens there.
func (sess *session) callbackURL() string {
	return "https://gateway.example.com/callbacks/" + sess.connector
}

// environment is what the plugin may see of ours.
func (s *Subject) environment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, s.Env...)
}

// saw keeps the text of an error for the search for secrets.
func (sess *session) saw(err error) error {
	if err != nil {
		sess.subject.output.add("error", err.Error()+"\n")
	}
	return err
}

// heard keeps an answer for the search for secrets.
func (sess *session) heard(m proto.Message) {
	b, err := json.Marshal(m)
	if err == nil {
		sess.subject.output.add("answer", string(b)+"\n")
	}
}

// items makes n items with attempt ids of their own.
func (sess *session) items(n int, change ...func(*channelv1.Item)) []*channelv1.Item {
	out := make([]*channelv1.Item, n)
	for i := range out {
		id := fmt.Sprintf("%s-%d", sess.about.GetInstanceNonce(), sess.subject.ids.Add(1))
		out[i] = &channelv1.Item{
			AttemptId: "a-" + id, MessageId: "m-" + id, IdempotencyKey: "k-" + id, Account: "channeltest",
			Attempt: 1, Connector: sess.connector, Recipient: sess.subject.Recipient, Priority: 5,
			Content:     &channelv1.Content{Text: "channeltest " + id},
			Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		}
		if sess.subject.Prepare != nil {
			sess.subject.Prepare(out[i])
		}
		for _, f := range change {
			f(out[i])
		}
	}
	return out
}

// encode is a config as the gateway sends it.
func encode(config map[string]any) []byte {
	if config == nil {
		return []byte("{}")
	}
	b, err := json.Marshal(config)
	if err != nil {
		panic(fmt.Sprintf("channeltest: the config is no JSON: %v", err)) // the suite's author must see it
	}
	return b
}

// transcriptLimit bounds what is kept of the output.
const transcriptLimit = 32 << 20

// transcript gathers what a plugin prints and answers.
type transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	mark    int // where the current session began
	printed int // bytes that plugins printed, without answers and errors
}

func (t *transcript) add(source, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len()+len(text) < transcriptLimit {
		t.buf.WriteString(source + ": " + text)
	}
}

func (t *transcript) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark = t.buf.Len()
}

// since returns the output of the current session.
func (t *transcript) since() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf.Bytes()[t.mark:])
}

// bytes counts what was printed since the first session.
func (t *transcript) bytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.printed
}

func (t *transcript) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// writer is an io.Writer into the transcript.
func (t *transcript) writer(source string) *transcriptWriter { return &transcriptWriter{t, source} }

type transcriptWriter struct {
	t      *transcript
	source string
}

// Write keeps p and counts it as printed.
func (w *transcriptWriter) Write(p []byte) (int, error) {
	w.t.add(w.source, string(p))
	w.t.mu.Lock()
	w.t.printed += len(p)
	w.t.mu.Unlock()
	return len(p), nil
}

// LastOutput is the end of the current session's output, for a failure's report.
func (s *Subject) LastOutput() string {
	text := s.output.since()
	const most = 4 << 10
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	if text == "" {
		return "the plugin printed nothing"
	}
	return "output of the plugin:\n" + text
}
