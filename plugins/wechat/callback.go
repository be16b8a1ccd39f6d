package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// answerSuccess is what WeChat takes for "taken, and nothing to reply", also in safe mode and unencrypted. It waits five seconds
// for it and calls three times in all: https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_standard_messages.html
const answerSuccess = "success"

// HandleCallback answers WeChat: the check of the address that the console makes, and whatever it pushes.
//
//nolint:unparam // the SDK's interface
func (c *connector) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	answer, events, err := c.handle(r)
	if err == nil {
		return plain(http.StatusOK, answer), events, nil
	}
	status := http.StatusBadRequest
	if refusal, ok := errors.AsType[*callbackError](err); ok {
		status = refusal.status
	}
	sdk.Logger(ctx).Warn("callback refused", "status", status, "reason", err.Error(), "remote", r.RemoteAddr)
	return plain(status, ""), sdk.Events{}, nil
}

// callbackError is why a callback is not taken.
type callbackError struct {
	status int
	reason string
}

func (e *callbackError) Error() string { return e.reason }

func unauthorized(reason string) error { return &callbackError{http.StatusUnauthorized, reason} }

// plain is an answer that no browser takes for a page: echostr is the caller's.
func plain(status int, body string) *sdk.CallbackResponse {
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
	return &sdk.CallbackResponse{Status: status, Header: header, Body: []byte(body)}
}

func (c *connector) handle(r *sdk.CallbackRequest) (string, sdk.Events, error) {
	if c.config.Token == "" {
		return "", sdk.Events{}, &callbackError{http.StatusNotFound, "the connector has no token, and takes no callbacks"}
	}
	query, err := url.ParseQuery(r.Query)
	if err != nil {
		return "", sdk.Events{}, errors.New("the query cannot be read")
	}
	switch r.Method {
	case http.MethodGet:
		echo, err := c.echo(query)
		return echo, sdk.Events{}, err
	case http.MethodPost:
		body, err := c.verified(query, r.Body)
		if err != nil {
			return "", sdk.Events{}, err
		}
		p, err := parsePush(body)
		if err != nil {
			return "", sdk.Events{}, fmt.Errorf("the message cannot be read: %w", err)
		}
		return answerSuccess, p.events(), nil
	default:
		return "", sdk.Events{}, &callbackError{http.StatusMethodNotAllowed, r.Method + " is no method of WeChat's"}
	}
}

// echo is what the console wants to see before it accepts the address.
func (c *connector) echo(query url.Values) (string, error) {
	if err := c.fromWeChat(query, "signature"); err != nil {
		return "", err
	}
	if query.Get("echostr") == "" {
		return "", errors.New("echostr is missing")
	}
	return query.Get("echostr"), nil
}

// fromWeChat checks the signature in a parameter over the token, the time, the nonce and the parts, and the time.
func (c *connector) fromWeChat(query url.Values, parameter string, parts ...string) error {
	timestamp := query.Get("timestamp")
	if !signed(query.Get(parameter), append(parts, c.config.Token.Reveal(), timestamp, query.Get("nonce"))...) {
		return unauthorized(parameter + " is missing or wrong")
	}
	tolerance := c.config.CallbackTolerance
	if tolerance == 0 {
		return nil
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return unauthorized("timestamp is no time")
	}
	if age := c.now().Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return unauthorized(fmt.Sprintf("timestamp is %s off: a replay, or a clock that is wrong", age.Round(time.Second)))
	}
	return nil
}

// verified returns what WeChat says in a body. Where there is a key, only what is encrypted with it counts: in compatible
// mode the body says the same in clear beside it, which no signature covers.
func (c *connector) verified(query url.Values, body []byte) ([]byte, error) {
	if len(c.keys) == 0 {
		return body, c.fromWeChat(query, "signature")
	}
	envelope, err := parsePush(body)
	if err != nil {
		return nil, fmt.Errorf("the body cannot be read: %w", err)
	}
	sealed := envelope.get("Encrypt")
	if sealed == "" {
		return nil, unauthorized("the body is not encrypted: choose the safe mode in WeChat's console")
	}
	if err := c.fromWeChat(query, "msg_signature", sealed); err != nil {
		return nil, err
	}
	for _, key := range c.keys {
		var message []byte
		if message, err = unseal(key, sealed, c.config.AppID); err == nil {
			return message, nil
		}
	}
	return nil, unauthorized(err.Error())
}

// events are what a push tells: receipts of messages that were sent, or something that a user did.
func (p *push) events() sdk.Events {
	if p.get("MsgType") == "event" {
		switch p.get("Event") {
		case "TEMPLATESENDJOBFINISH":
			return sdk.Events{Receipts: []sdk.DeliveryReceipt{p.templateReceipt()}}
		case "subscribe_msg_sent_event":
			return sdk.Events{Receipts: p.subscribeReceipts()}
		}
	}
	return sdk.Events{Inbound: []sdk.Inbound{p.inbound()}}
}

// at is when WeChat says that it happened.
func (p *push) at() time.Time {
	seconds, err := strconv.ParseInt(p.get("CreateTime"), 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// templateReceipt reads the result of a template message:
// https://developers.weixin.qq.com/doc/service/guide/product/template_message/Template_Message_Interface.html
func (p *push) templateReceipt() sdk.DeliveryReceipt {
	receipt := sdk.DeliveryReceipt{
		ProviderID: p.get("MsgID"), Recipient: p.get("FromUserName"), At: p.at(), Status: sdk.Delivered,
	}
	status := p.get("Status")
	if receipt.ProviderID == "0" { // of a message that WeChat gave no id
		receipt.ProviderID = ""
	}
	receipt.DedupeKey = "template:" + receipt.ProviderID + ":" + status
	if receipt.ProviderID == "" {
		receipt.DedupeKey = strings.Join([]string{"template", receipt.Recipient, p.get("CreateTime"), status}, ":")
	}
	if status != "success" {
		receipt.Status, receipt.Err = sdk.Undelivered, undelivered(status)
	}
	return receipt
}

// undelivered says why a template message was not delivered, of WeChat's words for it.
func undelivered(status string) error {
	err := fmt.Errorf("WeChat says %q", status)
	switch reason := strings.ReplaceAll(status, " ", ""); {
	case strings.Contains(reason, "userblock"):
		return sdk.Permanent(err, sdk.Code(codeRecipientBlocked), sdk.ProviderCode(status))
	case strings.Contains(reason, "systemfailed"):
		return sdk.Permanent(err, sdk.Code(codeProviderUnavailable), sdk.ProviderCode(status), sdk.Blame(sdk.FaultProvider))
	default:
		return sdk.Permanent(err, sdk.Code(codeUndelivered), sdk.ProviderCode(status), sdk.Blame(sdk.FaultProvider))
	}
}

// subscribeReceipts reads the results of subscription notices:
// https://developers.weixin.qq.com/doc/service/guide/product/subscription_messages/push.html
func (p *push) subscribeReceipts() []sdk.DeliveryReceipt {
	var receipts []sdk.DeliveryReceipt
	list := newBranch("SubscribeMsgSentEvent")
	for at := list.child("List"); p.get(at+".MsgID") != ""; at = list.child("List") {
		code := p.get(at + ".ErrorCode")
		receipt := sdk.DeliveryReceipt{
			ProviderID: p.get(at + ".MsgID"), Recipient: p.get("FromUserName"), At: p.at(), Status: sdk.Delivered,
		}
		receipt.DedupeKey = "subscribe:" + receipt.ProviderID + ":" + code
		if code != "0" && code != "" {
			receipt.Status = sdk.Undelivered
			receipt.Err = refusedNotice(code, p.get(at+".ErrorStatus"))
		}
		receipts = append(receipts, receipt)
	}
	return receipts
}

// refusedNotice is the error of a notice that was not delivered; its codes are those of sending.
func refusedNotice(code, status string) error {
	number, err := strconv.Atoi(code)
	v, known := verdicts[number]
	if err != nil || !known {
		v = verdict{code: codeUndelivered, fault: sdk.FaultProvider}
	}
	return sdk.Permanent(fmt.Errorf("WeChat says %s %q", code, status), sdk.Code(v.code), sdk.ProviderCode(code), sdk.Blame(v.fault))
}

// Bounds of sdk.Inbound.Attributes.
const (
	maxAttributes     = 64
	maxAttributeBytes = 2 << 10
)

// inbound is what a user wrote or did. Whatever WeChat says of it stands in the attributes.
func (p *push) inbound() sdk.Inbound {
	in := sdk.Inbound{
		From: p.get("FromUserName"), To: p.get("ToUserName"), ProviderID: p.get("MsgId"), At: p.at(), Text: p.text(),
		Attributes: p.attributes(),
	}
	if kind := p.get("MsgType"); kind != "text" {
		in.Kind = strings.ToLower(kind)
	}
	if picture := p.get("PicUrl"); in.Kind == "image" && picture != "" {
		in.Attachments = []sdk.InboundAttachment{{URL: picture}}
	}
	in.DedupeKey = "message:" + in.ProviderID
	if in.ProviderID == "" {
		// WeChat recommends FromUserName and CreateTime. Two events of a user may fall into one second, though: who scans a
		// code and so follows, or opens a page from the menu.
		in.DedupeKey = strings.Join([]string{"event", in.From, p.get("CreateTime"), p.get("Event"), p.get("EventKey")}, ":")
	}
	return in
}

func (p *push) attributes() map[string]string {
	out := make(map[string]string, len(p.fields))
	for _, f := range p.fields {
		switch f.path {
		case "FromUserName", "ToUserName", "CreateTime", "MsgType", "MsgId", "Content":
			continue
		}
		if len(out) == maxAttributes {
			break
		}
		out[attributeName(f.path)] = cut(f.value, maxAttributeBytes)
	}
	return out
}

// cut shortens text to at most limit bytes without breaking a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// text is what a person would want to read of it first.
func (p *push) text() string {
	switch p.get("MsgType") {
	case "text":
		return p.get("Content")
	case "voice":
		return p.get("Recognition")
	case "location":
		return p.get("Label")
	case "link":
		return strings.TrimSpace(p.get("Title") + "\n" + p.get("Url"))
	default:
		return ""
	}
}
