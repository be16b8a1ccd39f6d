package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Paths of WeChat's API, below base_url.
const (
	pathStableToken   = "/cgi-bin/stable_token"
	pathTemplate      = "/cgi-bin/message/template/send"
	pathSubscribe     = "/cgi-bin/message/subscribe/bizsend"
	pathSubscribeOnce = "/cgi-bin/message/template/subscribe"
	pathCustom        = "/cgi-bin/message/custom/send"
	pathUpload        = "/cgi-bin/media/upload"
	pathAddresses     = "/cgi-bin/get_api_domain_ip"
)

// connector is one Official Account.
type connector struct {
	config config
	keys   [][]byte // that callbacks may be encrypted with; none: plaintext mode
	tokens *sdk.TokenSource
	now    func() time.Time
}

func open(ctx context.Context, cfg config) (*connector, error) {
	keys, err := cfg.keys()
	if err != nil {
		return nil, err
	}
	c := &connector{config: cfg, keys: keys, now: time.Now}
	c.config.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	c.tokens = sdk.SharedToken(ctx, "stable_token/"+cfg.AppID+"@"+c.config.BaseURL, cfg.AppSecret, c.fetchToken)
	return c, nil
}

// answer is what WeChat answers. Each request has its own fields of success; errcode stands in every failure.
type answer struct {
	Code        *int            `json:"errcode"`
	Message     string          `json:"errmsg"`
	MsgID       json.Number     `json:"msgid"`
	AccessToken string          `json:"access_token"`
	ExpiresIn   int64           `json:"expires_in"` // seconds
	MediaID     string          `json:"media_id"`
	Addresses   json.RawMessage `json:"ip_list"`
}

// Send hands m to WeChat.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	out, err := c.compose(ctx, m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	body, err := encode(out.body)
	if err != nil {
		return sdk.Receipt{}, err
	}
	a, err := c.call(ctx, request{path: out.path, contentType: "application/json; charset=utf-8", body: body, ok: func(a *answer) bool { return a.Code != nil }})
	if err != nil {
		return failed(err, m.Attempt, out.path == pathTemplate && m.IdempotencyKey != "")
	}
	if a.MsgID == "" {
		return sdk.Accepted(), nil
	}
	return sdk.Accepted(a.MsgID.String()), nil
}

// Check asks WeChat for something that needs the access token alone.
func (c *connector) Check(ctx context.Context) error {
	_, err := c.call(ctx, request{path: pathAddresses, ok: func(a *answer) bool { return a.Addresses != nil }})
	return notSent(err)
}

// request is one request with the access token: a GET without a body, else a POST.
type request struct {
	path        string
	query       url.Values
	contentType string
	body        []byte
	// ok tells whether an answer without an error code other than 0 is one of success.
	ok func(*answer) bool
}

// call makes a request, and makes it again if WeChat refused the access token: it has done nothing then. The new token comes from
// WeChat's normal mode, which gives out the one that is valid now. Its forced mode is for tokens that have leaked: it takes the
// token from everybody else, twenty times a day.
func (c *connector) call(ctx context.Context, r request) (*answer, error) {
	for again := false; ; again = true {
		token, err := c.tokens.Get(ctx)
		if err != nil {
			return nil, err //nolint:wrapcheck // an outcome already
		}
		query := url.Values{"access_token": {token}}
		maps.Copy(query, r.query)
		a, err := c.exchange(ctx, r, "?"+query.Encode(), sdk.Secret(token))
		refusal, ok := errors.AsType[*refusal](err)
		if !ok || !refusal.ofToken() {
			return a, err
		}
		c.tokens.Discard(ctx, token)
		if again {
			return nil, err
		}
	}
}

// exchange makes one HTTP request. Where it got no answer of WeChat's, the error is that of sdk.DoHTTPFunc.
func (c *connector) exchange(ctx context.Context, r request, query string, secret sdk.Secret) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if r.body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.config.BaseURL+r.path+query, body)
	if err != nil {
		return nil, sdk.Permanent(fmt.Errorf("make the request %s: %w", r.path, err), sdk.Blame(sdk.FaultConfig))
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	var a answer
	_, err = sdk.DoHTTPFunc(req, func(_ *http.Response, body []byte) (sdk.Receipt, error) {
		return sdk.Receipt{}, read(body, &a, r.ok)
	}, secret)
	if err != nil {
		return nil, err //nolint:wrapcheck // an outcome already
	}
	return &a, nil
}

// read makes sense of a 2xx answer. One that is not WeChat's, such as that of a proxy, says nothing of what became of the message.
func read(body []byte, a *answer, ok func(*answer) bool) error {
	if err := json.Unmarshal(body, a); err != nil {
		return sdk.Uncertain(fmt.Errorf("the answer is not WeChat's: %w", err), sdk.Code(codeBadAnswer))
	}
	if a.Code != nil && *a.Code != 0 {
		return refused(a)
	}
	if !ok(a) {
		return sdk.Uncertain(errors.New("the answer is not WeChat's: its fields are missing"), sdk.Code(codeBadAnswer))
	}
	return nil
}

// fetchToken fetches the access token in WeChat's normal mode, in which it is the same for all who ask until five minutes
// before its end: https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func (c *connector) fetchToken(ctx context.Context) (sdk.Token, error) {
	body, err := encode(map[string]any{
		"grant_type": "client_credential", "appid": c.config.AppID, "secret": c.config.AppSecret.Reveal(),
	})
	if err != nil {
		return sdk.Token{}, err
	}
	asked := c.now()
	r := request{path: pathStableToken, contentType: "application/json; charset=utf-8", body: body, ok: func(a *answer) bool {
		return a.AccessToken != "" && a.ExpiresIn > 0
	}}
	a, err := c.exchange(ctx, r, "", c.config.AppSecret)
	if err != nil {
		return sdk.Token{}, notSent(fmt.Errorf("fetch an access token: %w", err))
	}
	return sdk.Token{Value: a.AccessToken, Expires: asked.Add(time.Duration(a.ExpiresIn) * time.Second)}, nil
}

// encode writes JSON without escapes such as \u003c, which WeChat refuses (40033).
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, sdk.Permanent(fmt.Errorf("encode the request: %w", err), sdk.Code(codeProtocolError), sdk.Blame(sdk.FaultPlugin))
	}
	return b.Bytes(), nil
}

// clean leaves out what encoding/json can only write as \uXXXX: control characters and bytes that are no UTF-8.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return r
		case r == '\u2028', r == '\u2029': // separators of lines and paragraphs
			return '\n'
		case r < ' ', r == 0x7f:
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(text, ""))
}
