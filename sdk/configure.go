package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// openTimeout bounds Open when the gateway sets no deadline.
const openTimeout = 30 * time.Second

// ValidateConfig decodes the config and runs the plugin's own checks, without any effect.
func (s *Server) ValidateConfig(_ context.Context, req *channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
	_, ds := s.parse(req.GetConfig())
	if ch := req.GetChannel(); ch != "" && !slices.Contains(s.plugin.channels, ch) {
		ds = append(ds, &channelv1.Diagnostic{
			Severity: channelv1.Severity_SEVERITY_ERROR,
			Summary:  fmt.Sprintf("plugin %s does not serve the channel %q", s.plugin.name, ch),
			Detail:   "it serves: " + strings.Join(s.plugin.channels, ", "),
		})
	}
	return &channelv1.ValidateConfigResponse{Diagnostics: ds}, nil
}

// parse decodes and validates. The secrets are known to the redactor before any of the author's
// code sees them: an error text may quote one.
func (s *Server) parse(config []byte) (parsedConfig, []*channelv1.Diagnostic) {
	p := s.plugin.parse(config)
	s.redact.add(p.secrets)
	ds := p.diagnostics
	if failed(ds) {
		return p, ds
	}
	for _, secret := range p.secrets {
		if len(secret) < minSecret {
			ds = append(ds, &channelv1.Diagnostic{
				Severity: channelv1.Severity_SEVERITY_WARNING,
				Summary:  fmt.Sprintf("a secret shorter than %d characters cannot be kept out of the logs", minSecret),
				Detail:   "choose a longer one",
			})
		}
	}
	return p, append(ds, diagnosticsOf(s.guard("Validate", p.validate), s.redact.clean)...)
}

// Configure opens a connector, or replaces its configuration by a newer revision. The new one is
// open before the old one is let go; an error changes nothing.
func (s *Server) Configure(ctx context.Context, req *channelv1.ConfigureRequest) (*channelv1.ConfigureResponse, error) {
	if req.GetConnector() == "" {
		return nil, status.Error(codes.InvalidArgument, "connector is missing")
	}
	if s.gate.closed() {
		return nil, status.Error(codes.FailedPrecondition, "the plugin is draining")
	}
	e := s.entry(req.GetConnector())
	if err := e.hold(ctx); err != nil {
		return nil, err
	}
	defer e.letGo()
	old := e.current.Load()
	if old != nil && req.GetRevision() < old.revision {
		return configured(&channelv1.Diagnostic{
			Severity: channelv1.Severity_SEVERITY_ERROR,
			Summary:  fmt.Sprintf("revision %d is older than the current one, %d", req.GetRevision(), old.revision),
			Detail:   "send the config again with a greater revision",
		}), nil
	}
	if old != nil && req.GetRevision() == old.revision && bytes.Equal(req.GetConfig(), old.config) && req.GetCallbackUrl() == old.callback {
		return configured(), nil
	}
	url := req.GetCallbackUrl()
	e.callbackURL.Store(&url)
	p, ds := s.parse(req.GetConfig())
	if failed(ds) {
		return configured(ds...), nil
	}
	c, err := s.open(ctx, req, p)
	if err != nil {
		return configured(append(ds, diagnosticsOf(err, s.redact.clean)...)...), nil
	}
	s.replace(e, old, c)
	return configured(ds...), nil
}

func configured(ds ...*channelv1.Diagnostic) *channelv1.ConfigureResponse {
	return &channelv1.ConfigureResponse{Diagnostics: ds}
}

// hold waits until nobody else configures the connector.
func (e *entry) hold(ctx context.Context) error {
	select {
	case e.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (e *entry) letGo() { <-e.lock }

// open calls the author's Open.
func (s *Server) open(ctx context.Context, req *channelv1.ConfigureRequest, p parsedConfig) (*connector, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	health := newHealthSlot(s.healthChanged.notify)
	var sender Sender
	err := s.guard("Open", func() (err error) {
		sender, err = p.open(s.context(ctx, req.GetConnector(), health))
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case sender == nil:
		return nil, errors.New("the plugin opened nothing: Open returned nil without an error")
	}
	if err := s.undescribed(sender); err != nil {
		if closer, ok := sender.(io.Closer); ok {
			_ = s.guard("Close", closer.Close) // err is the one to tell
		}
		return nil, err
	}
	c := newConnector(s, req.GetConnector(), req.GetRevision(), bytes.Clone(req.GetConfig()), sender)
	c.health, c.callback = health, req.GetCallbackUrl()
	return c, nil
}

// undescribed finds an optional interface that Describe did not tell of: the gateway would never use it, and nobody would know.
func (s *Server) undescribed(sender Sender) error {
	has, told := &channelv1.Capabilities{}, s.description.GetCapabilities()
	addInterfaces(has, sender)
	_, batches := sender.(BatchSender)
	for _, c := range []struct {
		name      string
		has, told bool
	}{
		{"Querier", has.GetQuery(), told.GetQuery()},
		{"CallbackHandler", has.GetCallback(), told.GetCallback()},
		{"Receiver", has.GetReceive(), told.GetReceive()},
		{"Checker", has.GetCheck(), told.GetCheck()},
		{"BatchSender", batches, s.description.GetLimits().GetMaxInFlight() == int32(s.plugin.limits.maxInFlight(sender))},
	} {
		if c.has && !c.told {
			return fmt.Errorf("the plugin opened a %T, which is a %s, and does not describe it: Plugin.Prototype must be a nil value of that type", sender, c.name)
		}
	}
	return nil
}

// replace puts c in the place of old. Both may hold a session at the provider for a moment; only
// one of them receives.
func (s *Server) replace(e *entry, old, c *connector) {
	e.current.Store(c)
	s.log.Debug("connector configured", "connector", c.id, "revision", c.revision)
	if old == nil {
		s.startReceiver(c)
	} else {
		s.background.Go(func() {
			old.stopReceiver(s.ctx)
			s.startReceiver(c)
			old.retire(s.ctx)
		})
	}
	s.healthChanged.notify()
}

// Remove closes a connector once its items in flight have finished. Removing one that is not there
// succeeds.
func (s *Server) Remove(ctx context.Context, req *channelv1.RemoveRequest) (*channelv1.RemoveResponse, error) {
	e := s.entry(req.GetConnector())
	if err := e.hold(ctx); err != nil {
		return nil, err
	}
	defer e.letGo()
	c := e.current.Swap(nil)
	if c == nil {
		return &channelv1.RemoveResponse{}, nil
	}
	s.healthChanged.notify()
	closed := make(chan struct{})
	s.background.Go(func() {
		defer close(closed)
		c.retire(s.ctx)
	})
	select {
	case <-closed:
		s.log.Info("connector removed", "connector", c.id)
		return &channelv1.RemoveResponse{}, nil
	case <-ctx.Done(): // it closes by itself later
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
