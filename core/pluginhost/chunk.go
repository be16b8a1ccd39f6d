package pluginhost

import (
	"fmt"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// itemOverhead is more than an item takes beside its content.
	itemOverhead = 512
	// maxItemBytes leaves room for what the call adds.
	maxItemBytes = maxMessageBytes - 64<<10
	// defaultBatchBytes bounds a batch where the plugin sets no bound: gRPC servers take 4 MiB unless
	// told otherwise.
	defaultBatchBytes = 4<<20 - 64<<10
)

// chunk splits a batch by the plugin's limits. Messages that fit in no call are rejected.
func chunk(batch []core.Delivery, limits *channelv1.Limits) (chunks [][]core.Delivery, tooLarge []core.Result) {
	maxItems := bound(int64(limits.GetMaxBatch()), int64(len(batch)))
	maxBytes := bound(limits.GetMaxBatchBytes(), defaultBatchBytes)
	maxOne := bound(limits.GetMaxMessageBytes(), maxItemBytes)
	start, items, bytes := 0, int64(0), int64(0)
	cut := func(end int) {
		if end > start {
			chunks = append(chunks, batch[start:end])
		}
		start, items, bytes = end, 0, 0
	}
	for i, d := range batch {
		size := contentSize(&d.Message.Content)
		if size > maxOne {
			cut(i)
			start++
			tooLarge = append(tooLarge, rejectSize(d, size, maxOne))
			continue
		}
		if items == maxItems || bytes+size+itemOverhead > maxBytes {
			cut(i)
		}
		items++
		bytes += size + itemOverhead
	}
	cut(len(batch))
	return chunks, tooLarge
}

// bound returns the plugin's limit where it sets one that is not above ours.
func bound(given, ours int64) int64 {
	if given <= 0 {
		return ours
	}
	return min(given, max(ours, 1))
}

func rejectSize(d core.Delivery, size, limit int64) core.Result {
	return core.Result{
		Record: d.Message.ID, Attempt: d.Attempt, Outcome: core.OutcomeRejected,
		Error: &core.SendError{
			Code: CodeMessageTooLarge, Fault: core.FaultMessage,
			Message: fmt.Sprintf("the message has %d bytes and the channel takes at most %d", size, limit),
		},
	}
}

// contentSize is what a content takes on the wire, or a little more.
func contentSize(c *core.Content) int64 {
	size := len(c.Subject) + len(c.Text) + len(c.HTML)
	for name, value := range c.Attributes {
		size += len(name) + len(value) + 16
	}
	for _, a := range c.Attachments {
		size += len(a.Name) + len(a.ContentType) + len(a.ContentID) + len(a.Data) + len(a.URL) + 32
	}
	for _, t := range c.ProviderTemplates { // one of them goes along
		size += len(t.ID)
		for name, value := range t.Parameters {
			size += len(name) + len(value) + 16
		}
	}
	return int64(size)
}
