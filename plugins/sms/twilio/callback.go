package twilio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pigeonry/pigeonry/sdk"
)

// noReply is TwiML that answers nothing to the user.
const noReply = `<?xml version="1.0" encoding="UTF-8"?><Response></Response>`

// HandleCallback takes a status callback, which is a receipt, or a message of a user.
func (c *Channel) HandleCallback(_ context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return &sdk.CallbackResponse{Status: http.StatusBadRequest}, sdk.Events{}, nil //nolint:nilerr // the caller's fault
	}
	if !c.verified(r, form) {
		return &sdk.CallbackResponse{Status: http.StatusUnauthorized}, sdk.Events{}, nil
	}
	answer := &sdk.CallbackResponse{Header: http.Header{"Content-Type": {"text/xml; charset=utf-8"}}, Body: []byte(noReply)}
	switch {
	case form.Get("MessageSid") == "":
		return answer, sdk.Events{}, nil // about something else, such as a call
	case form.Get("MessageStatus") != "" && form.Get("MessageStatus") != "received":
		query, _ := url.ParseQuery(r.Query) // the signature covers it
		return answer, sdk.Events{Receipts: []sdk.DeliveryReceipt{receipt(form, query.Get(parameterAttempt))}}, nil
	default:
		return answer, sdk.Events{Inbound: []sdk.Inbound{inbound(form)}}, nil
	}
}

// receipt reads a status callback. Only the last statuses say what became of the message.
func receipt(form url.Values, attempt string) sdk.DeliveryReceipt {
	sid, status, code := form.Get("MessageSid"), form.Get("MessageStatus"), form.Get("ErrorCode")
	out := sdk.DeliveryReceipt{
		ProviderID: sid, AttemptID: attempt, Status: sdk.Progress, Recipient: form.Get("To"), DedupeKey: sid + "/" + status,
	}
	switch status {
	case "delivered":
		out.Status = sdk.Delivered
	case "read":
		out.Status = sdk.Read
	case "undelivered", "failed", "canceled":
		out.Status = sdk.Undelivered
		text := "the provider reports " + status
		if message := form.Get("ErrorMessage"); message != "" {
			text += ": " + message
		}
		out.Err = sdk.Permanent(errors.New(text), sdk.Code(undelivered(code)), sdk.ProviderCode(code))
	}
	return out
}

// inbound reads a message of a user. What the provider knows about the sender becomes attributes.
func inbound(form url.Values) sdk.Inbound {
	sid := form.Get("MessageSid")
	in := sdk.Inbound{
		DedupeKey: "in/" + sid, ProviderID: sid, From: form.Get("From"), To: form.Get("To"), Text: form.Get("Body"),
		Attributes: map[string]string{},
	}
	for field, name := range map[string]string{
		"NumSegments": "parts", "FromCountry": "from_country", "FromCity": "from_city", "FromState": "from_state",
		"MessagingServiceSid": "messaging_service_sid", "OptOutType": "opt_out",
	} {
		if value := form.Get(field); value != "" {
			in.Attributes[name] = value
		}
	}
	media, _ := strconv.Atoi(form.Get("NumMedia"))
	for i := range min(media, maxMedia) {
		in.Attachments = append(in.Attachments, sdk.InboundAttachment{
			ContentType: form.Get(fmt.Sprintf("MediaContentType%d", i)), URL: form.Get(fmt.Sprintf("MediaUrl%d", i)),
		})
	}
	return in
}
