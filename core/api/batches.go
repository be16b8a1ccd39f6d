package api

import (
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// GetBatch tells how far a batch has come.
func (s *server) GetBatch(c *gin.Context, id BatchId) {
	b, counts, err := s.o.Messages.Batch(c.Request.Context(), accountOf(c), core.BatchID(id))
	if err != nil {
		s.fail(c, noBatch(err))
		return
	}
	finished := 0
	for status, n := range counts {
		if status.Final() {
			finished += n
		}
	}
	s.ok(c, "the batch", Batch{
		BatchId: int64(b.ID), TemplateId: int64(b.Template), Channel: b.Channel,
		Accepted: b.Accepted, RejectedCount: b.Rejected, Finished: finished, Canceled: b.Canceled,
		CreatedAt: b.CreatedAt, Progress: progressOf(counts),
	})
}

// CancelBatch cancels what is left of a batch.
func (s *server) CancelBatch(c *gin.Context, id BatchId) {
	ctx, account, batch := c.Request.Context(), accountOf(c), core.BatchID(id)
	canceled, err := s.o.Messages.Cancel(ctx, account, store.Target{Batch: batch}, s.o.Now())
	if err != nil {
		s.fail(c, noBatch(err))
		return
	}
	_, counts, err := s.o.Messages.Batch(ctx, account, batch)
	if err != nil {
		s.fail(c, noBatch(err))
		return
	}
	s.ok(c, fmt.Sprintf("%d messages are canceled", canceled),
		BatchCancelResult{BatchId: id, Canceled: canceled, Progress: progressOf(counts)})
}

func noBatch(err error) error { return absent(err, core.CodeBatchNotFound, "batch") }

func progressOf(counts map[core.Status]int) Progress {
	return Progress{
		Scheduled: counts[core.StatusScheduled], Queued: counts[core.StatusQueued], Sending: counts[core.StatusSending],
		Uncertain: counts[core.StatusUncertain], Sent: counts[core.StatusSent], Failed: counts[core.StatusFailed],
		Expired: counts[core.StatusExpired], Canceled: counts[core.StatusCanceled],
		Undelivered: counts[core.StatusUndelivered], Delivered: counts[core.StatusDelivered], Read: counts[core.StatusRead],
	}
}
