package pluginhost

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

func TestChunk(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		sizes  []int
		limits *channelv1.Limits
		want   string // sizes of the chunks, then how many were rejected
	}{
		"no limits":              {[]int{1, 1, 1}, &channelv1.Limits{}, "[3] 0"},
		"nothing":                {nil, &channelv1.Limits{}, "[] 0"},
		"by count":               {[]int{1, 1, 1, 1, 1}, &channelv1.Limits{MaxBatch: 2}, "[2 2 1] 0"},
		"by bytes":               {[]int{600, 600, 600}, &channelv1.Limits{MaxBatchBytes: 2500}, "[2 1] 0"},
		"one over the bytes":     {[]int{1, 900, 1}, &channelv1.Limits{MaxBatchBytes: 800}, "[1 1 1] 0"},
		"by our own bytes":       {[]int{mib, mib, mib, mib, mib}, &channelv1.Limits{}, "[3 2] 0"},
		"large ones alone":       {[]int{5 * mib, 5 * mib, 1}, &channelv1.Limits{}, "[1 1 1] 0"},
		"over the contract":      {[]int{1, 17 * mib, 1}, &channelv1.Limits{}, "[1 1] 1"},
		"over the plugin's":      {[]int{101, 100, 101, 101, 1}, &channelv1.Limits{MaxMessageBytes: 100}, "[1 1] 3"},
		"negative is none":       {[]int{1, 1}, &channelv1.Limits{MaxBatch: -1, MaxBatchBytes: -1, MaxMessageBytes: -1}, "[2] 0"},
		"above ours has no hold": {[]int{17 * mib}, &channelv1.Limits{MaxMessageBytes: 1 << 40, MaxBatchBytes: 1 << 40}, "[] 1"},
	} {
		var batch []core.Delivery
		for i, size := range c.sizes {
			batch = append(batch, core.Delivery{Attempt: 1, Message: &core.Message{
				ID: core.RecordID(i + 1), Content: core.Content{Text: strings.Repeat("x", size)},
			}})
		}
		chunks, rejected := chunk(batch, c.limits)
		var sizes []int
		for _, one := range chunks {
			sizes = append(sizes, len(one))
		}
		if got := fmt.Sprint(sizes, " ", len(rejected)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		for _, r := range rejected {
			if r.Outcome != core.OutcomeRejected || r.Error.Fault != core.FaultMessage {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}
