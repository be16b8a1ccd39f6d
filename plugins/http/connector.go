package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// connector sends the messages of one connector and reads what its provider calls back.
type connector struct {
	*plan

	client  *client
	timeout time.Duration
	now     func() time.Time
}

// plan is what a config says, ready for use.
type plan struct {
	writer   *writer
	reader   *reader
	callback *callback // nil: none
	derived  *strings.Replacer
}

// compilePlan reads a config, without any effect.
func compilePlan(c *config) (*plan, error) {
	p := &plan{}
	var faults problems
	var err error
	p.writer, err = compileWriter(c)
	faults.note(err)
	p.reader, err = compileReader(c)
	faults.note(err)
	if c.Callback != nil {
		p.callback, err = compileCallback(c)
		faults.note(err)
	}
	p.derived = derivedSecrets(c)
	return p, faults.err()
}

// derivedSecrets cuts out what is made of the secrets; the SDK knows them as they stand in the config.
func derivedSecrets(c *config) *strings.Replacer {
	const redacted = "[redacted]"
	var pairs []string
	for _, s := range c.Secrets {
		if escaped := percentEncode(s.Reveal()); len(escaped) > 3 {
			pairs = append(pairs, escaped, redacted)
		}
	}
	if c.Auth != nil && c.Auth.Username != "" {
		pairs = append(pairs, basic(c.Auth.Username, c.Auth.Password), redacted)
	}
	return strings.NewReplacer(pairs...)
}

// validate checks what the tags of the config cannot say.
func validate(c config) error {
	_, err := compilePlan(&c)
	_, tlsErr := tlsOf(&c)
	return errors.Join(err, tlsErr)
}

func open(c config) (*connector, error) {
	p, err := compilePlan(&c)
	if err != nil {
		return nil, err
	}
	client, err := newClient(&c)
	if err != nil {
		return nil, err
	}
	return &connector{plan: p, client: client, timeout: c.Timeout, now: time.Now}, nil
}

// Send makes one request of m and says what came of it.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, content, err := c.writer.write(ctx, m, c.now())
	if err != nil {
		return sdk.Receipt{}, c.clean(err)
	}
	a, err := c.client.exchange(req, content)
	if err != nil && (a == nil || c.reader.statuses.outcome(a.status) == sdk.OutcomeAccepted) {
		return sdk.Receipt{}, c.clean(err)
	}
	r, err := c.reader.judge(a)
	if err == nil && len(c.reader.id) > 0 && len(r.ProviderIDs) == 0 {
		sdk.Logger(ctx).Warn("the provider took a message without an id where answer.id leads", "status", a.status)
	}
	return r, c.clean(err)
}

// Check asks check_url with the credentials of the connector, or else connects to the server alone.
func (c *connector) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.writer.check == nil {
		return c.client.reach(ctx, c.writer.server())
	}
	req, err := c.writer.writeCheck(ctx, c.now())
	if err != nil {
		return err
	}
	a, err := c.client.exchange(req, nil)
	if err != nil {
		return c.clean(err)
	}
	return c.clean(c.reader.judgeCheck(a))
}

// Close lets go of idle connections.
func (c *connector) Close() error { //nolint:unparam // an io.Closer may fail
	c.client.transport.CloseIdleConnections()
	return nil
}

// clean cuts derived secrets out of the text of an error.
func (c *connector) clean(err error) error {
	if err == nil {
		return nil
	}
	text := c.derived.Replace(err.Error())
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return errors.New(text)
	}
	out := *e
	if text != err.Error() {
		out.Err = errors.New(text)
	}
	out.ProviderCode = c.derived.Replace(e.ProviderCode)
	return &out
}
