package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// maxHookBytes is how large the request of a custom bot may be.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
const maxHookBytes = 20 << 10

// webhook sends with custom bots.
type webhook struct {
	base    string
	timeout time.Duration
	hooks   map[string]hook
	secret  sdk.Secret // of bots that are not in the config
	pacer   *pacer
	now     func() time.Time
}

// hook is one custom bot.
type hook struct {
	token, secret sdk.Secret
	configured    bool // or else the recipient of a message is the token itself
}

func newWebhook(base string, c config) *webhook {
	w := &webhook{base: base, timeout: c.Timeout, hooks: map[string]hook{}, secret: c.Webhook.Secret, now: time.Now}
	for name, h := range c.Webhook.Hooks {
		w.hooks[name] = hook{token: h.Token, secret: h.Secret, configured: true}
	}
	w.pacer = newPacer(nil, []window{{second, c.Webhook.PerSecond}, {minute, c.Webhook.PerMinute}})
	return w
}

// send posts m into the group of a bot. It has no id there, and nobody tells when it is read.
func (w *webhook) send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	h, err := w.hook(m.Recipient)
	if err != nil {
		return sdk.Receipt{}, err
	}
	if len(m.Attachments) > 0 {
		return sdk.Receipt{}, sdk.Permanent(errors.New("a custom bot cannot upload: send the image_key of an image that an app has uploaded"), sdk.Code("attachments_unsupported"))
	}
	c, err := compose(m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	message, err := c.forHook()
	if err != nil {
		return sdk.Receipt{}, err
	}
	if err := w.pacer.wait(ctx, h.token.Reveal(), m.NotAfter); err != nil {
		return sdk.Receipt{}, err
	}
	err = w.post(ctx, h, message)
	if wait := throttledFor(err); wait > 0 {
		w.pacer.pause(h.token.Reveal(), wait)
	}
	return sdk.Receipt{}, err
}

// hook finds the bot that a recipient means: one of the config by its name, or any by its token.
func (w *webhook) hook(recipient string) (hook, error) {
	if h, ok := w.hooks[recipient]; ok {
		return h, nil
	}
	if hookToken.MatchString(recipient) {
		return hook{token: sdk.Secret(recipient), secret: w.secret}, nil
	}
	return hook{}, sdk.Permanent(fmt.Errorf("%q is neither a hook of the config (%s) nor the token of a custom bot", recipient, w.names()),
		sdk.Code(codeInvalidRecipient))
}

func (w *webhook) names() string {
	if len(w.hooks) == 0 {
		return "which has none"
	}
	return strings.Join(slices.Sorted(maps.Keys(w.hooks)), ", ")
}

// post makes one request of a bot, signed if it has a key. message is a JSON object without a signature.
func (w *webhook) post(ctx context.Context, h hook, message map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	if h.secret != "" {
		timestamp := strconv.FormatInt(w.now().Unix(), 10)
		message["timestamp"], message["sign"] = timestamp, hookSignature(timestamp, h.secret.Reveal())
	}
	body, err := marshal(message)
	if err != nil {
		return sdk.Permanent(fmt.Errorf("write the request: %w", err), sdk.Code(codeInvalidParameter))
	}
	if len(body) > maxHookBytes {
		return tooLarge("a custom bot takes", len(body), maxHookBytes)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/open-apis/bot/v2/hook/"+h.token.Reveal(), bytes.NewReader(body))
	if err != nil {
		return sdk.Permanent(fmt.Errorf("make the request: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		_, err := readAnswer(resp, body)
		return sdk.Receipt{}, h.blame(err)
	}, h.token, h.secret)
	return err
}

// blame makes an unknown token the fault of the message that has it as its recipient.
func (h hook) blame(err error) error {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok || h.configured || e.ProviderCode != "19001" {
		return err
	}
	return sdk.Permanent(e.Err, sdk.Code(codeInvalidRecipient), sdk.ProviderCode(e.ProviderCode))
}

// hookSignature is what proves that a request is from somebody who knows the bot's key. The key of the HMAC is the text
// that other providers sign, and the message is empty.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
func hookSignature(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// check asks each bot of the config with a request that says nothing. Feishu looks at token, address and signature first,
// and then refuses it for being empty.
func (w *webhook) check(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(w.hooks)) {
		err := w.post(ctx, w.hooks[name], map[string]any{})
		if e, ok := errors.AsType[*sdk.DeliveryError](err); ok && (e.Code != codeInvalidParameter || e.ProviderCode == "") {
			return fmt.Errorf("hook %s: %w", name, err)
		}
	}
	return nil
}

// marshal is JSON without escapes for the sake of HTML, which count against the size of a message.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
