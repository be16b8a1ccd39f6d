package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// app sends with an app that has a bot.
type app struct {
	base      string
	timeout   time.Duration
	id        string
	secret    sdk.Secret
	tokens    *sdk.TokenSource
	pacer     *pacer
	callbacks *callbacks
	now       func() time.Time
}

func newApp(ctx context.Context, base string, c config) *app {
	a := &app{base: base, timeout: c.Timeout, id: c.App.AppID, secret: c.App.AppSecret, now: time.Now}
	server := strings.TrimPrefix(strings.TrimPrefix(base, "https://"), "http://")
	a.tokens = sdk.SharedToken(ctx, "tenant_access_token/"+server+"/"+a.id, a.secret, a.fetchToken)
	a.pacer = newPacer(
		[]window{{second, c.App.PerSecond}, {minute, c.App.PerMinute}},
		[]window{{second, c.App.RecipientPerSecond}},
	)
	a.callbacks = &callbacks{
		token: c.App.VerificationToken.Reveal(), encryptKey: c.App.EncryptKey.Reveal(), appID: a.id,
		tolerance: c.App.CallbackTolerance, now: time.Now,
	}
	return a
}

// outgoing is a message as the interface wants it.
// https://open.feishu.cn/document/server-docs/im-v1/message/create
type outgoing struct {
	ReceiveID string `json:"receive_id"`
	Type      string `json:"msg_type"`
	Content   string `json:"content"`
	UUID      string `json:"uuid,omitempty"`
}

// send hands m to a user or a group.
func (a *app) send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	to, err := receiverOf(m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	plan, err := planOf(m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	key := to.kind + ":" + to.id
	if err := a.pacer.wait(ctx, key, m.NotAfter); err != nil {
		return sdk.Receipt{}, err
	}
	c, err := a.finish(ctx, plan)
	if err != nil {
		return sdk.Receipt{}, err
	}
	receipt, err := a.create(ctx, to, c, uuid(m.IdempotencyKey))
	if wait := throttledFor(err); wait > 0 {
		e, _ := errors.AsType[*sdk.DeliveryError](err)
		if e.ProviderCode != "230020" && e.ProviderCode != "11233" { // those two are about the recipient alone
			key = ""
		}
		a.pacer.pause(key, wait)
	}
	return receipt, err
}

// create makes the request that sends.
func (a *app) create(ctx context.Context, to receiver, c content, uuid string) (sdk.Receipt, error) {
	text, err := c.text()
	if err != nil {
		return sdk.Receipt{}, err
	}
	body, err := marshal(outgoing{ReceiveID: to.id, Type: c.kind, Content: text, UUID: uuid})
	if err != nil {
		return sdk.Receipt{}, invalid("write the request: %w", err)
	}
	if limit := c.limit(); len(body) > limit {
		return sdk.Receipt{}, tooLarge("Feishu takes of the type "+c.kind, len(body), limit)
	}
	var receipt sdk.Receipt
	err = a.call(ctx, request{
		method: http.MethodPost, path: "/open-apis/im/v1/messages?" + url.Values{"receive_id_type": {to.kind}}.Encode(),
		contentType: "application/json; charset=utf-8", body: body,
	}, func(data json.RawMessage) {
		var message struct {
			ID string `json:"message_id"`
		}
		if json.Unmarshal(data, &message) == nil && message.ID != "" {
			receipt = sdk.Accepted(message.ID)
		}
	})
	if err != nil {
		return sdk.Receipt{}, err
	}
	if receipt.ProviderID() == "" {
		sdk.Logger(ctx).Warn("a message was taken without a message_id: its receipts will not find it")
	}
	return receipt, nil
}

// maxUUID is how long the key of a message may be by which Feishu drops repeats, for an hour.
const maxUUID = 50

// uuid is that key: the gateway's own, or a hash of it if it is too long.
func uuid(key string) string {
	if len(key) <= maxUUID {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:maxUUID/2])
}

// request is one call of the interface.
type request struct {
	method, path, contentType string
	body                      []byte
}

// call makes a request with the access token, and once more with a new one if Feishu does not take that: what it refuses
// for its token it has not done. read gets the data of an answer that says yes.
func (a *app) call(ctx context.Context, r request, read func(data json.RawMessage)) error {
	token, err := a.tokens.Get(ctx)
	if err != nil {
		return err
	}
	err = a.attempt(ctx, r, token, read)
	if e, ok := errors.AsType[*sdk.DeliveryError](err); !ok || !staleTokens[e.ProviderCode] {
		return err
	}
	a.tokens.Discard(ctx, token)
	if token, err = a.tokens.Get(ctx); err != nil {
		return err
	}
	return a.attempt(ctx, r, token, read)
}

func (a *app) attempt(ctx context.Context, r request, token string, read func(data json.RawMessage)) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, a.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return sdk.Permanent(fmt.Errorf("make the request: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		answer, err := readAnswer(resp, body)
		if err == nil {
			read(answer.Data)
		}
		return sdk.Receipt{}, err
	}, sdk.Secret(token), a.secret)
	return err
}

// fetchToken asks for a tenant_access_token. Feishu gives the same one until half an hour before its end.
// https://open.feishu.cn/document/server-docs/authentication-management/access-token/tenant_access_token_internal
func (a *app) fetchToken(ctx context.Context) (sdk.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	body, err := marshal(map[string]string{"app_id": a.id, "app_secret": a.secret.Reveal()})
	if err != nil {
		return sdk.Token{}, fmt.Errorf("write the request for a token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/open-apis/auth/v3/tenant_access_token/internal", bytes.NewReader(body))
	if err != nil {
		return sdk.Token{}, sdk.Permanent(fmt.Errorf("make the request for a token: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	var given struct {
		Value  string `json:"tenant_access_token"`
		Expire int64  `json:"expire"` // seconds
	}
	asked := a.now()
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		if _, err := readAnswer(resp, body); err != nil {
			return sdk.Receipt{}, err
		}
		if err := json.Unmarshal(body, &given); err != nil || given.Value == "" || given.Expire <= 0 {
			return sdk.Receipt{}, sdk.Retryable(errors.New("the answer has no token in it"), sdk.Code("unreadable_answer"))
		}
		return sdk.Receipt{}, nil
	}, a.secret)
	if err != nil {
		return sdk.Token{}, unsent(err)
	}
	return sdk.Token{Value: given.Value, Expires: asked.Add(time.Duration(given.Expire) * time.Second)}, nil
}

// check gets a token and asks for the bot: an app without one cannot send.
// https://open.feishu.cn/document/client-docs/bot-v3/obtain-bot-info
func (a *app) check(ctx context.Context) error {
	return a.call(ctx, request{method: http.MethodGet, path: "/open-apis/bot/v3/info"}, func(json.RawMessage) {})
}

// dropsRepeats is for how long after an attempt a repeat is surely dropped. Feishu remembers a uuid for an hour from the
// first attempt on, and a message has up to five of them.
const dropsRepeats = 10 * time.Minute

// query tells what became of attempts. One with an id is asked for. Of one without, Feishu cannot be asked; but as it drops
// what it has got already, the message may go out again soon, to this app.
func (a *app) query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	var results []sdk.QueryResult
	for i := range attempts {
		at := &attempts[i]
		switch {
		case len(at.ProviderIDs) > 0:
			known, err := a.known(ctx, at.ProviderIDs[0])
			if err != nil {
				return results, err
			}
			if known {
				results = append(results, sdk.QueryResult{AttemptID: at.AttemptID, Receipt: sdk.Accepted(at.ProviderIDs...)})
			}
		case at.IdempotencyKey != "" && !at.SentAt.IsZero() && a.now().Sub(at.SentAt) < dropsRepeats:
			results = append(results, sdk.QueryResult{AttemptID: at.AttemptID, Err: sdk.Uncertain(
				errors.New("a repeat of this message is dropped by Feishu if it has the first"), sdk.Code(sdk.CodeRepeatSafe))})
		}
	}
	return results, nil
}

// known says whether there is, or was, a message with that id.
// https://open.feishu.cn/document/server-docs/im-v1/message/get
func (a *app) known(ctx context.Context, id string) (bool, error) {
	var found struct {
		Items []json.RawMessage `json:"items"`
	}
	err := a.call(ctx, request{method: http.MethodGet, path: "/open-apis/im/v1/messages/" + url.PathEscape(id)}, func(data json.RawMessage) {
		if err := json.Unmarshal(data, &found); err != nil {
			found.Items = nil
		}
	})
	e, failed := errors.AsType[*sdk.DeliveryError](err)
	switch {
	case !failed:
		return len(found.Items) > 0, err
	case e.ProviderCode == "230110": // deleted
		return true, nil
	case cmp.Or(e.ProviderCode, "0") != "0" && e.Outcome == sdk.OutcomeRejected:
		return false, nil // it cannot be asked for: nobody knows
	default:
		return false, err
	}
}
