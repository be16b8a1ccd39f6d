package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Defaults of Limits.MaxInFlight.
const (
	defaultSenderInFlight = 64
	defaultBatchInFlight  = 1024
)

// maxInFlight is the bound that holds for a connector with this sender.
func (l Limits) maxInFlight(sender Sender) int {
	if l.MaxInFlight > 0 {
		return l.MaxInFlight
	}
	if _, ok := sender.(BatchSender); ok {
		return defaultBatchInFlight
	}
	return defaultSenderInFlight
}

func describe[C any](p Plugin[C], d definition) (*channelv1.DescribeResponse, error) {
	schema, err := configSchema(d.shape, p.Name+" connector")
	if err != nil {
		return nil, err
	}
	capabilities := &channelv1.Capabilities{
		IdempotentSend:   p.Capabilities.Idempotent,
		Receipts:         p.Capabilities.Receipts,
		ExclusiveSession: p.Capabilities.Exclusive,
		Html:             p.Capabilities.HTML,
		Attachments:      p.Capabilities.Attachments,
		Share:            true, // the SDK serves it, whether there is a SharedToken or not
	}
	addInterfaces(capabilities, p.Prototype)
	return &channelv1.DescribeResponse{
		Name: p.Name, Version: p.Version, Build: build(),
		ApiVersions:  []string{APIVersion},
		Channels:     d.channels,
		ConfigSchema: schema,
		Capabilities: capabilities,
		Limits: &channelv1.Limits{
			MaxBatch:        int32(p.Limits.MaxBatch),
			MaxBatchBytes:   p.Limits.MaxBatchBytes,
			MaxInFlight:     int32(p.Limits.maxInFlight(p.Prototype)),
			MaxMessageBytes: p.Limits.MaxMessageBytes,
			SuggestedRate:   p.Limits.SuggestedRate,
		},
		InstanceNonce: nonce(),
	}, nil
}

// addInterfaces sets the bits of the optional interfaces that sender has.
func addInterfaces(c *channelv1.Capabilities, sender Sender) {
	if _, ok := sender.(Querier); ok {
		c.Query = true
	}
	if _, ok := sender.(CallbackHandler); ok {
		c.Callback = true
	}
	if _, ok := sender.(Receiver); ok {
		c.Receive = true
	}
	if _, ok := sender.(Checker); ok {
		c.Check = true
	}
}

// build names the commit the binary was built from, as far as the Go tool recorded it.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// Describe tells who the plugin is and what it can do.
func (s *Server) Describe(context.Context, *channelv1.DescribeRequest) (*channelv1.DescribeResponse, error) {
	return s.description, nil
}

// printDescription writes the description as JSON for people and tools: what -describe prints.
func printDescription(w io.Writer, d *channelv1.DescribeResponse) error {
	c, l := d.GetCapabilities(), d.GetLimits()
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Name         string          `json:"name"`
		Version      string          `json:"version"`
		Build        string          `json:"build,omitempty"`
		APIVersions  []string        `json:"api_versions"`
		Channels     []string        `json:"channels"`
		Capabilities map[string]bool `json:"capabilities"`
		Limits       map[string]any  `json:"limits"`
		ConfigSchema json.RawMessage `json:"config_schema"`
	}{
		d.GetName(), d.GetVersion(), d.GetBuild(), d.GetApiVersions(), d.GetChannels(),
		map[string]bool{
			"idempotent_send": c.GetIdempotentSend(), "query": c.GetQuery(), "callback": c.GetCallback(),
			"receive": c.GetReceive(), "receipts": c.GetReceipts(), "check": c.GetCheck(),
			"exclusive_session": c.GetExclusiveSession(), "html": c.GetHtml(), "attachments": c.GetAttachments(),
			"share": c.GetShare(),
		},
		map[string]any{
			"max_batch": l.GetMaxBatch(), "max_batch_bytes": l.GetMaxBatchBytes(),
			"max_in_flight": l.GetMaxInFlight(), "max_message_bytes": l.GetMaxMessageBytes(),
			"suggested_rate": l.GetSuggestedRate(),
		},
		d.GetConfigSchema(),
	})
	if err != nil {
		return fmt.Errorf("print description: %w", err)
	}
	return nil
}
