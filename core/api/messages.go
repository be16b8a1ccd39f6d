package api

import (
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// ListMessages lists messages of the account.
func (s *server) ListMessages(c *gin.Context, params ListMessagesParams) {
	filter, p, err := messageFilter(c, params)
	if err != nil {
		s.fail(c, err)
		return
	}
	messages, err := s.o.Messages.List(c.Request.Context(), accountOf(c), filter)
	if err != nil {
		s.fail(c, fmt.Errorf("list messages: %w", err))
		return
	}
	messages, next := cut(p, messages, func(m core.Message) int64 { return int64(m.ID) })
	list := MessageList{Items: make([]Message, len(messages)), NextCursor: next}
	for i := range messages {
		list.Items[i] = messageOf(&messages[i])
	}
	s.ok(c, "messages", list)
}

func messageFilter(c *gin.Context, params ListMessagesParams) (store.Filter, page, error) {
	if err := knownQuery[ListMessagesParams](c); err != nil {
		return store.Filter{}, page{}, err
	}
	if err := checkTimes(c, "created_from", "created_before"); err != nil {
		return store.Filter{}, page{}, err
	}
	p, err := pageOf(params.Limit, params.Cursor)
	if err != nil {
		return store.Filter{}, page{}, err
	}
	if params.Status != "" && !core.Status(params.Status).Valid() {
		err := problems{{Field: "status", Reason: fmt.Sprintf("is no status; give one of %v", core.Statuses())}}.err()
		return store.Filter{}, page{}, err
	}
	return store.Filter{
		Channel: params.Channel, Status: core.Status(params.Status), Recipient: params.Recipient,
		Template: core.TemplateID(params.TemplateId), Batch: core.BatchID(params.BatchId),
		CreatedFrom: params.CreatedFrom, CreatedBefore: params.CreatedBefore,
		Before: core.RecordID(p.before), Limit: p.limit + 1,
	}, p, nil
}

// GetMessage tells all of one message.
func (s *server) GetMessage(c *gin.Context, id RecordId) {
	m, attempts, err := s.o.Messages.Message(c.Request.Context(), accountOf(c), core.RecordID(id))
	if err != nil {
		s.fail(c, noMessage(err))
		return
	}
	answer := messageOf(&m)
	answer.Content = contentOf(m.Content)
	answer.Attempts = make([]Attempt, len(attempts))
	for i, a := range attempts {
		answer.Attempts[i] = attemptOf(a)
	}
	s.ok(c, "the message", answer)
}

// CancelMessage takes a message back. Canceling it again is no error, so that a repeat is safe.
func (s *server) CancelMessage(c *gin.Context, id RecordId) {
	ctx, account, record := c.Request.Context(), accountOf(c), core.RecordID(id)
	canceled, err := s.o.Messages.Cancel(ctx, account, store.Target{Record: record}, s.o.Now())
	if err != nil {
		s.fail(c, noMessage(err))
		return
	}
	if canceled == 0 {
		m, _, err := s.o.Messages.Message(ctx, account, record)
		if err != nil {
			s.fail(c, noMessage(err))
			return
		}
		if m.Status != core.StatusCanceled {
			s.fail(c, &core.Error{
				Kind: core.KindConflict, Code: core.CodeNotCancelable,
				Message: fmt.Sprintf("the message is %s and can no longer be canceled", m.Status),
			})
			return
		}
	}
	s.ok(c, "the message is canceled", StatusResult{RecordId: id, Status: MessageStatus(core.StatusCanceled)})
}

// RetryMessage gives a message a new round of attempts.
func (s *server) RetryMessage(c *gin.Context, id RecordId) {
	err := s.o.Retrier.Retry(c.Request.Context(), accountOf(c), core.RecordID(id))
	if err != nil {
		s.fail(c, conflict(noMessage(err), core.CodeNotRetryable))
		return
	}
	s.ok(c, "the message is queued again", StatusResult{RecordId: id, Status: MessageStatus(core.StatusQueued)})
}

func noMessage(err error) error { return absent(err, core.CodeMessageNotFound, "message") }

// messageOf is a message as lists show it.
func messageOf(m *core.Message) Message {
	return Message{
		RecordId: int64(m.ID), TraceId: string(m.TraceID), BatchId: int64(m.Batch), TemplateId: int64(m.Template),
		Channel: m.Channel, Priority: int(m.Priority), Lane: m.Lane().String(),
		Recipient: m.Recipient, RecipientGiven: m.RecipientGiven,
		Status: MessageStatus(m.Status), Attempt: m.Attempt,
		Connector: string(m.Connector), PinnedConnector: string(m.Pinned), ProviderId: m.ProviderID,
		Segments: m.Segments, Doubtful: m.Doubtful, Error: errorOf(m.Error), Metadata: m.Metadata,
		NextAttemptAt: m.NextAttempt, ExpireAt: m.ExpireAt, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt, SentAt: m.SentAt,
	}
}

func errorOf(e *core.SendError) SendError {
	if e == nil {
		return SendError{} // left out
	}
	return SendError{Code: e.Code, Message: e.Message, ProviderCode: e.ProviderCode, Fault: string(e.Fault)}
}

func attemptOf(a core.Attempt) Attempt {
	return Attempt{
		Number: a.Number, Connector: string(a.Connector), Outcome: string(a.Outcome), Error: errorOf(a.Error),
		ProviderIds: a.ProviderIDs, StartedAt: a.StartedAt, FinishedAt: a.FinishedAt,
	}
}

func contentOf(content core.Content) Content {
	answer := Content{
		Subject: content.Subject, Text: content.Text, Html: content.HTML, Attributes: content.Attributes,
		ProviderTemplates: providerTemplatesOf(content.ProviderTemplates),
	}
	for _, a := range content.Attachments {
		answer.Attachments = append(answer.Attachments, AttachmentInfo{
			Name: a.Name, ContentType: a.ContentType, ContentId: a.ContentID, Size: len(a.Data), Url: a.URL,
		})
	}
	return answer
}
