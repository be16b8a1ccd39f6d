package pluginhost

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Some providers have one id for all recipients of a request: their receipts are different events.
func TestReceiptsOfSeveralRecipients(t *testing.T) {
	g := testGeneration()
	key := func(to string) string {
		return g.toReceipt("sms/main", &channelv1.Receipt{ProviderId: "p", Status: 1, Recipient: to}, time.Now()).DedupeKey
	}
	first, again, other, nobody := key("+861"), key("+861"), key("+862"), key("")
	if first != again || first == other || first == nobody {
		t.Errorf("keys: %q, %q, %q, %q", first, again, other, nobody)
	}
}

// A long key is not cut, or two events could have the same.
func TestLongKeys(t *testing.T) {
	g := testGeneration()
	begin := strings.Repeat("k", maxIDText)
	one := g.toReceipt("sms/main", &channelv1.Receipt{DedupeKey: begin + "1"}, time.Now())
	two := g.toReceipt("sms/main", &channelv1.Receipt{DedupeKey: begin + "2"}, time.Now())
	if one.DedupeKey == two.DedupeKey || len(one.DedupeKey) > maxIDText {
		t.Errorf("keys: %q, %q", one.DedupeKey, two.DedupeKey)
	}
}

// The same text a week later is another message, where the provider gives neither an id nor a time. With one of them a
// repeat is told.
func TestInboundWithoutIDAndTime(t *testing.T) {
	g, now := testGeneration(), time.Unix(1700000000, 0)
	key := func(m *channelv1.Inbound, now time.Time) string { return g.toInbound("sms/main", m, now).DedupeKey }
	for name, c := range map[string]struct {
		m      *channelv1.Inbound
		repeat bool
	}{
		"neither": {&channelv1.Inbound{From: "+1", Text: "1"}, false},
		"an id":   {&channelv1.Inbound{ProviderId: "i", From: "+1", Text: "1"}, true},
		"a time":  {&channelv1.Inbound{From: "+1", Text: "1", At: timestamppb.New(now)}, true},
	} {
		if first, second := key(c.m, now), key(c.m, now.Add(time.Hour)); (first == second) != c.repeat || first == "" {
			t.Errorf("%s: keys %q and %q", name, first, second)
		}
	}
}

// What an inbound message carries beside its text stands in its attributes. What is too much is cut, and counted.
func TestInboundAttributes(t *testing.T) {
	g := testGeneration()
	got := g.toInbound("sms/main", &channelv1.Inbound{
		From: "+1", Kind: "image", ReplyToProviderId: "out-1", Attributes: map[string]string{"media_id": "m1", "kind": "own"},
		Attachments: []*channelv1.InboundAttachment{{Name: "a.png", ContentType: "image/png", Url: "https://example.com/a.png"}, {Url: "x"}},
	}, time.Now())
	want := map[string]string{
		"media_id": "m1", "kind": "image", "reply_to_provider_id": "out-1",
		"attachments": `[{"name":"a.png","content_type":"image/png","url":"https://example.com/a.png"},{"url":"x"}]`,
	}
	if !maps.Equal(got.Attributes, want) {
		t.Errorf("got %v, want %v", got.Attributes, want)
	}
	if n := g.violations.total(); n != 0 {
		t.Errorf("%d violations", n)
	}
	much := map[string]string{"long": strings.Repeat("x", maxErrorText+1)}
	for i := range maxInboundAttributes {
		much[fmt.Sprintf("n%d", i)] = ""
	}
	got = g.toInbound("sms/main", &channelv1.Inbound{From: "+1", Attributes: much, Attachments: make([]*channelv1.InboundAttachment, maxInboundAttachments+1)}, time.Now())
	if n := g.violations.total(); n != 3 {
		t.Errorf("%d violations, want one for each cut", n)
	}
	if len(got.Attributes) != maxInboundAttributes+1 || len(got.Attributes["long"]) > maxErrorText+len("…") {
		t.Errorf("%d attributes, one of %d bytes", len(got.Attributes), len(got.Attributes["long"]))
	}
}
