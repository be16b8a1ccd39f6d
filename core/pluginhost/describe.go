package pluginhost

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// description is what a plugin says of itself.
type description struct {
	version      string
	channels     []string
	capabilities *channelv1.Capabilities // never nil
	limits       *channelv1.Limits       // never nil
	schema       *schema
}

// describe asks a process who it is and refuses what cannot be worked with.
func (h *Host) describe(ctx context.Context, service channelv1.ChannelServiceClient, name string) (*description, error) {
	d, err := service.Describe(ctx, &channelv1.DescribeRequest{})
	if err != nil {
		return nil, callError("Describe", err)
	}
	reject := func(what, expected, found, remedy string) error {
		return &catalog.Fault{What: what, Expected: expected, Found: found, Remedy: remedy, Permanent: true}
	}
	if d.GetName() != name {
		return nil, reject("name mismatch", fmt.Sprintf("the plugin %q, as its folder is named", name),
			fmt.Sprintf("%q", truncateTo(d.GetName(), 64)), "install it in a folder of its own name")
	}
	if !slices.Contains(d.GetApiVersions(), sdk.APIVersion) {
		return nil, reject("contract mismatch", sdk.APIVersion, fmt.Sprintf("%q", d.GetApiVersions()),
			"rebuild the plugin with this gateway's SDK, or update the gateway")
	}
	if len(d.GetChannels()) == 0 {
		return nil, reject("no channel", "at least one channel", "none", "declare the plugin's channels")
	}
	for _, channel := range d.GetChannels() {
		if !catalog.ValidName(channel) {
			return nil, reject("invalid channel name", "a–z, 0–9, - and _, at most 63 characters",
				fmt.Sprintf("%q", truncateTo(channel, 64)), "rename the channel")
		}
	}
	schema, err := h.schemas.parse(d.GetConfigSchema())
	if err != nil {
		return nil, reject("invalid config schema", "a JSON Schema 2020-12 of an object", err.Error(),
			"correct the schema that Describe returns")
	}
	about := &description{
		version: d.GetVersion(), channels: d.GetChannels(), schema: schema,
		capabilities: d.GetCapabilities(), limits: d.GetLimits(),
	}
	if about.capabilities == nil {
		about.capabilities = &channelv1.Capabilities{}
	}
	if about.limits == nil {
		about.limits = &channelv1.Limits{}
	}
	return about, nil
}

// serves says whether the plugin serves the channel.
func (d *description) serves(channel string) bool { return slices.Contains(d.channels, channel) }

// names lists the capabilities for people.
func (d *description) names() []string {
	var names []string
	for _, c := range []struct {
		name string
		has  bool
	}{
		{"attachments", d.capabilities.GetAttachments()},
		{"callback", d.capabilities.GetCallback()},
		{"check", d.capabilities.GetCheck()},
		{"exclusive", d.capabilities.GetExclusiveSession()},
		{"html", d.capabilities.GetHtml()},
		{"idempotent", d.capabilities.GetIdempotentSend()},
		{"query", d.capabilities.GetQuery()},
		{"receipts", d.capabilities.GetReceipts()},
		{"receive", d.capabilities.GetReceive()},
		{"share", d.capabilities.GetShare()},
	} {
		if c.has {
			names = append(names, c.name)
		}
	}
	return names
}

// sameVersion ignores build metadata and a leading v.
func sameVersion(a, b string) bool {
	a, _, _ = strings.Cut(strings.TrimPrefix(a, "v"), "+")
	b, _, _ = strings.Cut(strings.TrimPrefix(b, "v"), "+")
	return a == b
}
