package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/trace"
)

// Options are what the API needs. All are required except those with a default.
type Options struct {
	Authenticator Authenticator
	Sender        Sender
	Idempotency   Idempotency
	Messages      Messages
	Retrier       Retrier
	Templates     store.Templates
	Traces        trace.Reader
	Plugins       Plugins
	Rollouts      Rollouts
	Records       RolloutRecords
	Versions      Versions
	Accounts      Accounts
	Callbacks     Callbacks
	Inbox         store.Inbox
	// ConnectorsOf returns the connectors that are for the account alone, or for it among few, as of now: what comes in over
	// them is its own.
	ConnectorsOf func(account string) []core.ConnectorID
	// Operators returns the names of the accounts whose keys may change plugins, as of now; default: "default" alone.
	Operators func() []string
	// Ready returns the state of each dependency. It must obey ctx.
	Ready   func(ctx context.Context) []DependencyState
	Metrics http.Handler
	Limiter limit.Limiter
	// Rules returns the limits of a resource in force now. A resource is "api:" and the path below
	// /api as it stands in the contract, e.g. "api:/messages/templates/{id}".
	Rules  func(resource string) []limit.Rule
	Logger *slog.Logger
	// PublicURL is how providers reach the gateway, e.g. "https://gateway.example.com"; plugins need
	// it for signatures over the URL. Default: the Host of the request, over HTTP.
	PublicURL string
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
	// KeyTTL is how long an idempotency key is remembered that is not a message's; default 24 h.
	KeyTTL time.Duration
}

// defaultOperator is the account of the bootstrap key.
const defaultOperator = "default"

// server handles the routes of the contract; it implements ServerInterface.
type server struct {
	o       Options
	outages outages
}

var _ ServerInterface = (*server)(nil)

// New returns the handler of the API. The error names options that are missing.
func New(o Options) (http.Handler, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.KeyTTL == 0 {
		o.KeyTTL = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Operators == nil {
		o.Operators = func() []string { return []string{defaultOperator} }
	}
	if o.ConnectorsOf == nil {
		o.ConnectorsOf = func(string) []core.ConnectorID { return nil }
	}
	s := &server{o: o}
	engine := newEngine()
	engine.Use(s.begin, s.guard)
	engine.NoRoute(s.noRoute)
	engine.NoMethod(s.noMethod)

	keyed := engine.Group("", s.authenticate, s.limit, s.operate)
	RegisterHandlersWithOptions(keyed, s, GinServerOptions{ErrorHandler: s.badParameter})

	s.probes(engine)
	engine.Any("/callbacks/:channel/:name", s.callback)
	engine.Any("/callbacks/:channel/:name/*path", s.callback)
	documentation(engine)
	return engine, nil
}

// NewProbes returns the handler of a gateway that serves no API: only /healthz, /readyz and /metrics. Of the options
// it needs Ready, Plugins, Metrics and Logger.
func NewProbes(o Options) (http.Handler, error) {
	s := &server{o: o}
	engine := newEngine()
	engine.Use(s.begin, s.guard)
	engine.NoRoute(s.noRoute)
	engine.NoMethod(s.noMethod)
	s.probes(engine)
	return engine, nil
}

// probes serves those who watch the gateway.
func (s *server) probes(engine *gin.Engine) {
	probe := []string{http.MethodGet, http.MethodHead} // some load balancers ask with HEAD
	engine.Match(probe, "/healthz", s.health)
	engine.Match(probe, "/readyz", s.readiness)
	engine.GET("/metrics", gin.WrapH(s.o.Metrics))
}

// newEngine returns a router that writes no log of its own, trusts no proxy and mends no path.
func newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	_ = engine.SetTrustedProxies(nil) // nil cannot be wrong
	return engine
}

// check names what is missing.
func (o Options) check() error {
	var missing []string
	v := reflect.ValueOf(o)
	for _, name := range []string{
		"Authenticator", "Sender", "Idempotency", "Messages", "Retrier", "Templates", "Traces", "Plugins",
		"Rollouts", "Records", "Versions", "Accounts", "Callbacks", "Inbox", "Ready", "Metrics", "Limiter", "Rules", "Logger",
	} {
		if v.FieldByName(name).IsNil() {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return errors.New("api: options missing: " + strings.Join(missing, ", "))
	}
	return nil
}
