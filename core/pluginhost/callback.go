package pluginhost

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// MaxCallbackBody is the largest body of a provider's callback.
const MaxCallbackBody = 256 << 10

// CallbackRequest is a provider's HTTP request, exactly as received.
type CallbackRequest struct {
	Method     string
	Path       string // below the connector's callback URL, with a leading slash; "/" is the URL itself
	Query      string // raw, without the question mark
	Header     http.Header
	Body       []byte // at most MaxCallbackBody
	RemoteAddr string
	URL        string // as far as the gateway knows it
}

// CallbackResponse is the answer for the provider, to be given once the events are stored.
type CallbackResponse struct {
	Status   int
	Header   http.Header
	Body     []byte
	Receipts []core.Receipt
	Inbound  []core.Inbound
}

// HandleCallback has a connector's plugin verify and parse a callback. The error is a *core.Error: not
// found, also if the plugin takes no callbacks; too large; or unavailable, and then the provider shall
// repeat it.
func (h *Host) HandleCallback(ctx context.Context, connector core.ConnectorID, r CallbackRequest) (CallbackResponse, error) {
	if len(r.Body) > MaxCallbackBody {
		return CallbackResponse{}, core.Errorf(core.KindTooLarge, "the body has %d bytes and may have at most %d", len(r.Body), MaxCallbackBody)
	}
	s, err := h.open(connector)
	if err != nil {
		return CallbackResponse{}, err
	}
	defer s.close()
	if !s.about.capabilities.GetCallback() {
		return CallbackResponse{}, core.NotFound("callback of connector " + string(connector))
	}
	reply, err := s.process.service.HandleCallback(ctx, &channelv1.HandleCallbackRequest{
		Connector: string(connector), Method: r.Method, Path: r.Path, Query: r.Query, Headers: toHeaders(r.Header),
		Body: r.Body, RemoteAddr: r.RemoteAddr, Url: r.URL,
	})
	if err != nil {
		return CallbackResponse{}, unavailable(callError("HandleCallback", err))
	}
	response := CallbackResponse{
		Status: int(reply.GetStatus()), Header: fromHeaders(reply.GetHeaders()), Body: reply.GetBody(),
	}
	switch {
	case response.Status == 0:
		response.Status = http.StatusOK
	case response.Status < 200 || response.Status > 599:
		s.g.violations.malformed.Add(1)
		response.Status = http.StatusBadGateway
	}
	response.Receipts, response.Inbound = s.g.toEvents(connector, reply.GetEvents())
	return response, nil
}

func toHeaders(header http.Header) []*channelv1.Header {
	headers := make([]*channelv1.Header, 0, len(header))
	for _, name := range slices.Sorted(maps.Keys(header)) {
		headers = append(headers, &channelv1.Header{Name: name, Values: header[name]})
	}
	return headers
}

func fromHeaders(headers []*channelv1.Header) http.Header {
	header := make(http.Header, len(headers))
	for _, h := range headers {
		for _, value := range h.GetValues() {
			header.Add(h.GetName(), value)
		}
	}
	return header
}
