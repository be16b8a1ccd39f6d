package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/aliyun"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/feishu"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/huawei"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/tencent"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/twilio"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/wechat"
)

// maxSettings bounds the body of a provider's settings, and of an event.
const maxSettings = 1 << 20

// makers make the providers with an HTTP API, each of which has a package of its own.
func makers() []func(desk.Desk) desk.Provider {
	return []func(desk.Desk) desk.Provider{
		aliyun.New,
		apns.New,
		fcm.New,
		feishu.New,
		huawei.New,
		tencent.New,
		twilio.New,
		webpush.New,
		wechat.New,
	}
}

// providers are those with an HTTP API, by name.
type providers map[string]desk.Provider

func newProviders(d desk.Desk) providers {
	all := providers{}
	for _, newProvider := range makers() {
		p := newProvider(d)
		all[p.Name()] = p
	}
	return all
}

// names lists what a fault may be for.
func (ps providers) names() []string {
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(ps)), func(name string) bool { return name == ChannelEmail })
	return append([]string{ChannelEmail, ChannelSMS}, others...)
}

// register adds the paths of the providers, and those by which they are set.
func (ps providers) register(mux *http.ServeMux) {
	for _, p := range ps {
		p.Register(mux)
	}
	mux.HandleFunc("POST /{$}", ps.root)
	mux.HandleFunc("GET /api/providers", ps.list)
	mux.HandleFunc("GET /api/providers/{name}", ps.get)
	mux.HandleFunc("PUT /api/providers/{name}", ps.put)
	mux.HandleFunc("POST /api/providers/{name}/events", ps.play)
}

// root finds out whose a request to / is.
func (ps providers) root(rw http.ResponseWriter, r *http.Request) {
	for _, name := range slices.Sorted(maps.Keys(ps)) {
		if p, ok := ps[name].(desk.Rooted); ok && p.Owns(r) {
			p.ServeHTTP(rw, r)
			return
		}
	}
	refuse(rw, &FieldError{Field: "headers", Reason: "no provider knows this request by its headers"})
}

func (ps providers) list(rw http.ResponseWriter, _ *http.Request) {
	all := make(map[string]any, len(ps))
	for name, p := range ps {
		all[name] = p.Settings()
	}
	answer(rw, http.StatusOK, all)
}

func (ps providers) get(rw http.ResponseWriter, r *http.Request) {
	if p := ps.find(rw, r); p != nil {
		answer(rw, http.StatusOK, p.Settings())
	}
}

func (ps providers) put(rw http.ResponseWriter, r *http.Request) {
	ps.change(rw, r, func(p desk.Provider, body json.RawMessage) error { return p.Set(body) })
}

func (ps providers) play(rw http.ResponseWriter, r *http.Request) {
	ps.change(rw, r, func(p desk.Provider, body json.RawMessage) error { return p.Play(r.Context(), body) })
}

// change hands the body of a request to a provider and answers with its settings.
func (ps providers) change(rw http.ResponseWriter, r *http.Request, do func(desk.Provider, json.RawMessage) error) {
	p := ps.find(rw, r)
	if p == nil {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxSettings))
	if err == nil {
		err = do(p, body)
	}
	if err != nil {
		refuse(rw, &FieldError{Field: "body", Reason: err.Error()})
		return
	}
	answer(rw, http.StatusOK, p.Settings())
}

func (ps providers) find(rw http.ResponseWriter, r *http.Request) desk.Provider {
	name := r.PathValue("name")
	p := ps[name]
	if p == nil {
		known := strings.Join(slices.Sorted(maps.Keys(ps)), ", ")
		answer(rw, http.StatusNotFound, map[string]any{"errors": []*FieldError{{
			Field: "name", Reason: fmt.Sprintf("there is no provider %q; known are %s", name, known),
		}}})
	}
	return p
}
