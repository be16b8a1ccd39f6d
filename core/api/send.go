package api

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
)

// SendMessage accepts one message.
func (s *server) SendMessage(c *gin.Context, _ SendMessageParams) {
	body, raw, err := bodyOf[SendRequest](c, maxBody)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.send(c, raw, accept.Request{
		Draft: accept.Draft{
			Template: core.TemplateID(body.TemplateId), Channel: body.Channel, Subject: body.Subject,
			Content: body.Content, HTML: body.Html, Attachments: attachments(body.Attachments),
			Attributes: body.Attributes, Priority: body.Priority, DelayMS: body.DelayMs, SendAt: body.SendAt,
			ExpireAt: body.ExpireAt, Connector: core.ConnectorID(body.Connector), Metadata: body.Metadata,
			ProviderTemplates: providerTemplates(body.ProviderTemplates),
		},
		Recipients: []accept.Recipient{{Address: body.Recipient, Variables: body.Variables}},
	}, singleAnswer)
}

// SendBatch accepts a message to many recipients.
func (s *server) SendBatch(c *gin.Context, _ SendBatchParams) {
	body, raw, err := bodyOf[SendBatchRequest](c, maxBatchBody)
	if err != nil {
		s.fail(c, err)
		return
	}
	recipients, err := recipients(body)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.send(c, raw, accept.Request{
		Batch: true,
		Draft: accept.Draft{
			Template: core.TemplateID(body.TemplateId), Channel: body.Channel, Subject: body.Subject,
			Content: body.Content, HTML: body.Html, Attachments: attachments(body.Attachments),
			Attributes: body.Attributes, Priority: body.Priority, DelayMS: body.DelayMs, SendAt: body.SendAt,
			ExpireAt: body.ExpireAt, Connector: core.ConnectorID(body.Connector), Metadata: body.Metadata,
			ProviderTemplates: providerTemplates(body.ProviderTemplates),
		},
		Recipients: recipients,
	}, batchAnswer)
}

// send hands a request on and answers it. The answer to a request with a key is made before the commit
// and stored with it; that happens on another goroutine, which must not touch the gin.Context.
func (s *server) send(c *gin.Context, raw []byte, r accept.Request, answer func(string, accept.Accepted) ([]byte, error)) {
	key, err := idempotencyKey(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	current := callOf(c)
	r.Account, r.Caller = current.account, accept.Caller{APIKey: current.key, IP: c.ClientIP()}
	if key != "" {
		id := current.id
		r.Key = &accept.Key{
			Value: key, BodyHash: bodyHash(c.Request, raw),
			Answer: func(a accept.Accepted) (int, []byte) {
				body, _ := answer(id, a) // numbers, and texts that bad UTF-8 is replaced in: it cannot fail
				return http.StatusOK, body
			},
		}
	}
	accepted, err := s.o.Sender.Send(c.Request.Context(), r)
	if err != nil {
		s.fail(c, err)
		return
	}
	if accepted.Replay != nil {
		replay(c, accepted.Replay)
		return
	}
	body, err := answer(current.id, accepted)
	if err != nil {
		s.fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, body)
}

func singleAnswer(requestID string, a accept.Accepted) ([]byte, error) {
	return encode(requestID, "the message is accepted", SendResult{RecordId: int64(a.Record), TraceId: string(a.TraceID)})
}

func batchAnswer(requestID string, a accept.Accepted) ([]byte, error) {
	result := SendBatchResult{BatchId: int64(a.Batch), Accepted: a.Accepted, Rejected: make([]Rejection, len(a.Rejected))}
	for i, r := range a.Rejected {
		result.Rejected[i] = Rejection{Index: r.Index, Recipient: r.Recipient, Reason: r.Reason}
	}
	message := fmt.Sprintf("%d messages are accepted", a.Accepted)
	if len(a.Rejected) > 0 {
		message = fmt.Sprintf("%d of %d messages are accepted; rejected names the others", a.Accepted, a.Accepted+len(a.Rejected))
	}
	return encode(requestID, message, result)
}

// recipients pairs addresses with their variables.
func recipients(body SendBatchRequest) ([]accept.Recipient, error) {
	n, own := len(body.Recipients), len(body.VariablesList)
	if n > accept.MaxRecipients { // before any work is put into them
		return nil, &core.Error{
			Kind: core.KindTooLarge, Code: core.CodeTooLarge,
			Message: fmt.Sprintf("%d recipients; a batch takes at most %d: split it", n, accept.MaxRecipients),
			Fields:  []core.FieldError{{Field: "/recipients", Reason: fmt.Sprintf("at most %d", accept.MaxRecipients)}},
		}
	}
	if own != 0 && own != n {
		return nil, core.Invalid("/variables_list", "has %d entries for %d recipients; give one for each, in their order", own, n)
	}
	all := make([]accept.Recipient, n)
	for i, address := range body.Recipients {
		all[i] = accept.Recipient{Address: address, Variables: body.Variables}
		if own != 0 {
			all[i].Variables = merge(body.Variables, body.VariablesList[i])
		}
	}
	return all, nil
}

// merge returns a recipient's own variables and, where those lack one, the batch's.
func merge(shared, own Variables) Variables {
	switch {
	case len(shared) == 0:
		return own
	case len(own) == 0:
		return shared
	}
	merged := maps.Clone(shared)
	maps.Copy(merged, own)
	return merged
}

func attachments(given []Attachment) []core.Attachment {
	if len(given) == 0 {
		return nil
	}
	all := make([]core.Attachment, len(given))
	for i, a := range given {
		all[i] = core.Attachment{Name: a.Name, ContentType: a.ContentType, ContentID: a.ContentId, Data: a.Data, URL: a.Url}
	}
	return all
}

// providerTemplates are those of a request in the core's words.
func providerTemplates(given ProviderTemplates) map[core.ConnectorID]core.ProviderTemplate {
	if len(given) == 0 {
		return nil
	}
	own := make(map[core.ConnectorID]core.ProviderTemplate, len(given))
	for connector, t := range given {
		own[core.ConnectorID(connector)] = core.ProviderTemplate{ID: t.Id, Parameters: t.Parameters}
	}
	return own
}

// providerTemplatesOf is the way back.
func providerTemplatesOf(own map[core.ConnectorID]core.ProviderTemplate) ProviderTemplates {
	if len(own) == 0 {
		return nil
	}
	told := make(ProviderTemplates, len(own))
	for connector, t := range own {
		told[string(connector)] = ProviderTemplate{Id: t.ID, Parameters: t.Parameters}
	}
	return told
}
