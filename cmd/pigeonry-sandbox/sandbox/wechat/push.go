package wechat

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WeChat signs with SHA-1
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// verifyTimeout is how long WeChat waits for an answer.
const verifyTimeout = 5 * time.Second

// field is one element of a push.
type field struct{ name, value string }

// templateResult is the push about a template message:
// https://developers.weixin.qq.com/doc/service/guide/product/template_message/Template_Message_Interface.html
func (p *Provider) templateResult(to string, receipt desk.Receipt) desk.Callback {
	s := p.current()
	status := "success"
	switch {
	case receipt.Status == desk.Progress:
		return desk.Callback{} // WeChat says nothing on the way
	case slices.Contains(s.Refusers, to):
		status = "failed:user block"
	case receipt.Status == desk.Undelivered:
		status = "failed: system failed"
	}
	return p.push([]field{
		{"ToUserName", s.Account},
		{"FromUserName", to},
		{"CreateTime", strconv.FormatInt(receipt.At.Unix(), 10)},
		{"MsgType", "event"},
		{"Event", "TEMPLATESENDJOBFINISH"},
		{"MsgID", receipt.ProviderID},
		{"Status", status},
	})
}

// noticeResult is the push about a subscription notice:
// https://developers.weixin.qq.com/doc/service/guide/product/subscription_messages/push.html
func (p *Provider) noticeResult(to, template string, receipt desk.Receipt) desk.Callback {
	code, status := "0", "success"
	switch receipt.Status {
	case desk.Progress:
		return desk.Callback{}
	case desk.Undelivered:
		code, status = strconv.Itoa(errRefused), "user refuse to accept the msg"
	case desk.Delivered:
	}
	return p.push([]field{
		{"ToUserName", p.current().Account},
		{"FromUserName", to},
		{"CreateTime", strconv.FormatInt(receipt.At.Unix(), 10)},
		{"MsgType", "event"},
		{"Event", "subscribe_msg_sent_event"},
		{"SubscribeMsgSentEvent.List.TemplateId", template},
		{"SubscribeMsgSentEvent.List.MsgID", receipt.ProviderID},
		{"SubscribeMsgSentEvent.List.ErrorCode", code},
		{"SubscribeMsgSentEvent.List.ErrorStatus", status},
	})
}

// push is the request that brings fields to the customer, as the settings are when it is made.
func (p *Provider) push(fields []field) desk.Callback {
	if p.current().CallbackURL == "" {
		return desk.Callback{}
	}
	message := document(fields)
	return desk.Callback{
		Request: func(ctx context.Context) (*http.Request, error) {
			s := p.current()
			return s.request(ctx, fields, message)
		},
		Taken: func(status int, body []byte) bool {
			answer := strings.TrimSpace(string(body))
			return status == http.StatusOK && (answer == "" || answer == "success" || strings.HasPrefix(answer, "<xml>"))
		},
	}
}

// request is a push in the mode of the settings, signed now:
// https://developers.weixin.qq.com/doc/service/guide/dev/push/encryption.html
func (s *Settings) request(ctx context.Context, fields []field, message string) (*http.Request, error) {
	query := s.signed()
	body := message
	if s.Mode != modePlain {
		sealed, err := s.seal(message)
		if err != nil {
			return nil, err
		}
		query.Set("encrypt_type", "aes")
		query.Set("msg_signature", signature(s.Token, query.Get("timestamp"), query.Get("nonce"), sealed))
		body = document([]field{{"ToUserName", s.Account}, {"Encrypt", sealed}})
		if s.Mode == modeCompatible {
			body = document(append(slices.Clone(fields), field{"Encrypt", sealed}))
		}
	}
	query.Set("openid", valueOf(fields, "FromUserName"))
	address, err := s.address(query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a push: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("User-Agent", "Mozilla/4.0")
	return req, nil
}

// signed are the parameters of every request that WeChat makes.
func (s *Settings) signed() url.Values {
	timestamp, nonce := strconv.FormatInt(time.Now().Unix(), 10), rand.Text()[:10]
	return url.Values{
		"timestamp": {timestamp}, "nonce": {nonce}, "signature": {signature(s.Token, timestamp, nonce)},
	}
}

func (s *Settings) address(query url.Values) (string, error) {
	u, err := url.Parse(s.CallbackURL)
	if err != nil {
		return "", fmt.Errorf("callback_url: %w", err)
	}
	all := u.Query()
	maps.Copy(all, query)
	u.RawQuery = all.Encode()
	return u.String(), nil
}

// verify checks the callback address as the console does before it saves it.
func verify(ctx context.Context, s Settings) error {
	query := s.signed()
	echo := strconv.FormatInt(time.Now().UnixNano(), 10)
	query.Set("echostr", echo)
	address, err := s.address(query)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("make the check of callback_url: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("check callback_url: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("check callback_url: %w", err)
	}
	if resp.StatusCode != http.StatusOK || string(body) != echo {
		return fmt.Errorf("callback_url: it answers %s %q to the check, and not the echostr", resp.Status, body)
	}
	return nil
}

// document writes fields as WeChat does: numbers as they are, all else as CDATA. A dot in a name leads into an element.
func document(fields []field) string {
	var b bytes.Buffer
	var open []string
	b.WriteString("<xml>")
	for _, f := range fields {
		names := strings.Split(f.name, ".")
		within := names[:len(names)-1]
		for !isPrefix(open, within) {
			fmt.Fprintf(&b, "</%s>", open[len(open)-1])
			open = open[:len(open)-1]
		}
		for _, name := range within[len(open):] {
			fmt.Fprintf(&b, "<%s>", name)
			open = append(open, name)
		}
		name := names[len(names)-1]
		fmt.Fprintf(&b, "<%s>%s</%s>\n", name, value(f.value), name)
	}
	for _, name := range slices.Backward(open) {
		fmt.Fprintf(&b, "</%s>", name)
	}
	b.WriteString("</xml>")
	return b.String()
}

func isPrefix(short, long []string) bool {
	return len(short) <= len(long) && slices.Equal(short, long[:len(short)])
}

func value(text string) string {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return text
	}
	if strings.Contains(text, "]]>") {
		var b bytes.Buffer
		_ = xml.EscapeText(&b, []byte(text)) // a buffer takes everything
		return b.String()
	}
	return "<![CDATA[" + text + "]]>"
}

func valueOf(fields []field, name string) string {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return ""
	}
	return fields[i].value
}

// signature is the SHA-1 of the sorted parts.
func signature(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) //nolint:gosec // WeChat signs with SHA-1
	return hex.EncodeToString(sum[:])
}

func (s *Settings) key() ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(s.EncodingAESKey + "=")
	if err != nil || len(s.EncodingAESKey) != 43 {
		return nil, errors.New("encoding_aes_key: want 43 letters and digits")
	}
	return key, nil
}

// seal encrypts random(16) + length(4) + message + AppID, padded to blocks of 32 bytes, with AES-CBC.
func (s *Settings) seal(message string) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	text := []byte(rand.Text()[:16])
	text = binary.BigEndian.AppendUint32(text, uint32(len(message)))
	text = append(append(text, message...), s.AppID...)
	padding := 32 - len(text)%32
	text = append(text, bytes.Repeat([]byte{byte(padding)}, padding)...)
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", fmt.Errorf("encrypt a push: %w", err)
	}
	cipher.NewCBCEncrypter(block, key[:aes.BlockSize]).CryptBlocks(text, text)
	return base64.StdEncoding.EncodeToString(text), nil
}
