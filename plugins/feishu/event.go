package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// person is how events call a user. The open_id is always there, the others are if the app may see them.
type person struct {
	Open  string `json:"open_id"`
	User  string `json:"user_id"`
	Union string `json:"union_id"`
}

func (p person) id() string { return cmp.Or(p.Open, p.Union, p.User) }

// readEvent is im.message.message_read_v1: a user has opened messages that the bot sent to them alone.
// https://open.feishu.cn/document/server-docs/im-v1/message/events/message_read
type readEvent struct {
	Reader struct {
		ID   person `json:"reader_id"`
		Time string `json:"read_time"` // milliseconds since 1970
	} `json:"reader"`
	Messages []string `json:"message_id_list"`
}

// readReceipts makes a receipt of each message in an event. A message is read once by each reader, however often Feishu
// says so and whatever event_id it gives to that.
func readReceipts(e envelope) ([]sdk.DeliveryReceipt, error) {
	var event readEvent
	if err := json.Unmarshal(e.Event, &event); err != nil {
		return nil, fmt.Errorf("read im.message.message_read_v1: %w", err)
	}
	at := milliseconds(cmp.Or(event.Reader.Time, e.Header.Created))
	var receipts []sdk.DeliveryReceipt
	for _, id := range event.Messages {
		if id == "" {
			continue
		}
		receipts = append(receipts, sdk.DeliveryReceipt{
			DedupeKey: "read/" + id + "/" + event.Reader.ID.id(), ProviderID: id, Status: sdk.Read,
			At: at, Recipient: event.Reader.ID.id(),
		})
	}
	return receipts, nil
}

// receiveEvent is im.message.receive_v1: a user has written to the bot, or to it in a group.
// https://open.feishu.cn/document/server-docs/im-v1/message/events/receive
type receiveEvent struct {
	Sender struct {
		ID   person `json:"sender_id"`
		Type string `json:"sender_type"`
	} `json:"sender"`
	Message struct {
		ID       string    `json:"message_id"`
		Root     string    `json:"root_id"`
		Parent   string    `json:"parent_id"`
		Thread   string    `json:"thread_id"`
		Created  string    `json:"create_time"` // milliseconds since 1970
		Chat     string    `json:"chat_id"`
		ChatType string    `json:"chat_type"`
		Type     string    `json:"message_type"`
		Content  string    `json:"content"` // JSON
		Mentions []mention `json:"mentions"`
	} `json:"message"`
}

// mention is somebody whom a message names. In its text stands the key.
type mention struct {
	Key  string `json:"key"`
	ID   person `json:"id"`
	Name string `json:"name"`
}

// maxAttribute is what the gateway keeps of an attribute's value.
const maxAttribute = 2 << 10

// readInbound makes an inbound message of an event. Its key is the message's id: Feishu may report the same message twice,
// under two event_ids, and says so in its documentation.
func readInbound(e envelope) ([]sdk.Inbound, error) {
	var event receiveEvent
	if err := json.Unmarshal(e.Event, &event); err != nil {
		return nil, fmt.Errorf("read im.message.receive_v1: %w", err)
	}
	if event.Sender.Type != "" && event.Sender.Type != "user" { // an app's message, maybe our own
		return nil, nil
	}
	m := &event.Message
	in := sdk.Inbound{
		DedupeKey: cmp.Or(m.ID, e.Header.ID), ProviderID: m.ID, From: event.Sender.ID.id(), To: e.Header.App,
		At: milliseconds(cmp.Or(m.Created, e.Header.Created)), ReplyToProviderID: m.Parent,
	}
	attributes := map[string]string{
		"event_id": e.Header.ID, "tenant_key": e.Header.Tenant, "message_type": m.Type, "chat_id": m.Chat, "chat_type": m.ChatType,
		"root_id": m.Root, "parent_id": m.Parent, "thread_id": m.Thread,
		"user_id": event.Sender.ID.User, "union_id": event.Sender.ID.Union,
	}
	if m.Type == typeText {
		in.Text = textOf(m.Content)
	} else {
		in.Kind = m.Type
		if len(m.Content) <= maxAttribute { // half of a JSON text is worth nothing
			attributes["content"] = m.Content
		}
		in.Text = said(m.Type, m.Content, attributes)
	}
	in.Text = named(in.Text, m.Mentions)
	for key, value := range attributes {
		if value == "" {
			delete(attributes, key)
		}
	}
	in.Attributes = attributes
	return []sdk.Inbound{in}, nil
}

func textOf(content string) string {
	var body struct {
		Text string `json:"text"`
	}
	if json.Unmarshal([]byte(content), &body) != nil {
		return content
	}
	return body.Text
}

// said is the text of a message that is no plain text: of a post its title and lines, of others nothing. The keys of images
// and files become attributes.
// https://open.feishu.cn/document/server-docs/im-v1/message-content-description/message_content
func said(kind, content string, attributes map[string]string) string {
	if kind == typePost {
		return postText(content)
	}
	var body struct {
		Image string `json:"image_key"`
		File  string `json:"file_key"`
		Name  string `json:"file_name"`
		Chat  string `json:"chat_id"`
		User  string `json:"user_id"`
	}
	if json.Unmarshal([]byte(content), &body) == nil {
		attributes["image_key"], attributes["file_key"], attributes["file_name"] = body.Image, body.File, body.Name
		if kind == typeChat {
			attributes["share_chat_id"] = body.Chat
		}
		if kind == typeUser {
			attributes["share_user_id"] = body.User
		}
	}
	return ""
}

// postText is the title and the paragraphs of a post, each on a line.
func postText(content string) string {
	var post struct {
		Title   string `json:"title"`
		Content [][]struct {
			Tag  string `json:"tag"`
			Text string `json:"text"`
			Href string `json:"href"`
			User string `json:"user_id"`
		} `json:"content"`
	}
	if json.Unmarshal([]byte(content), &post) != nil {
		return ""
	}
	var lines []string
	if post.Title != "" {
		lines = append(lines, post.Title)
	}
	for _, paragraph := range post.Content {
		var line strings.Builder
		for _, node := range paragraph {
			switch node.Tag {
			case "at":
				line.WriteString(node.User)
			case "a":
				fmt.Fprintf(&line, "[%s](%s)", node.Text, node.Href)
			default:
				line.WriteString(node.Text)
			}
		}
		if line.Len() > 0 {
			lines = append(lines, line.String())
		}
	}
	return strings.Join(lines, "\n")
}

// named replaces the keys of mentions by names, the longer keys first: @_user_1 is the beginning of @_user_10.
func named(text string, mentions []mention) string {
	byLength := slices.SortedFunc(slices.Values(mentions), func(a, b mention) int { return cmp.Compare(len(b.Key), len(a.Key)) })
	var pairs []string
	for _, m := range byLength {
		if m.Key != "" && m.Name != "" {
			pairs = append(pairs, m.Key, "@"+m.Name)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// milliseconds reads a time as Feishu writes it; zero if it is none.
func milliseconds(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
