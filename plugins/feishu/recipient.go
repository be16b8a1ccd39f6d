package main

import (
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// idTypes are the ways in which Feishu calls a user or a group.
// https://open.feishu.cn/document/server-docs/im-v1/message/create
var idTypes = []string{"open_id", "user_id", "union_id", "chat_id", "email"}

// receiver is who gets a message of an app.
type receiver struct{ id, kind string }

// receiverOf reads the recipient of m: its attribute receive_id_type says what it is, or a prefix such as "user_id:", or
// else its looks. What looks like nothing is a user_id, of which a company chooses the form.
func receiverOf(m *sdk.Message) (receiver, error) {
	r := receiver{id: m.Recipient, kind: m.Attributes[attrIDType]}
	if before, after, ok := strings.Cut(m.Recipient, ":"); ok && slices.Contains(idTypes, before) {
		if r.kind != "" && r.kind != before {
			return r, invalid("the recipient is a %s, and the attribute %s says %s", before, attrIDType, r.kind)
		}
		r = receiver{id: after, kind: before}
	}
	if r.id == "" {
		return r, sdk.Permanent(errNoRecipient, sdk.Code(codeInvalidRecipient))
	}
	if r.kind == "" {
		r.kind = looks(r.id)
	}
	if !slices.Contains(idTypes, r.kind) {
		return r, invalid("the attribute %s is %q: want %s", attrIDType, r.kind, strings.Join(idTypes, ", "))
	}
	return r, nil
}

// looks is the type that an id seems to have.
func looks(id string) string {
	switch {
	case strings.HasPrefix(id, "ou_"):
		return "open_id"
	case strings.HasPrefix(id, "on_"):
		return "union_id"
	case strings.HasPrefix(id, "oc_"):
		return "chat_id"
	case strings.Contains(id, "@"):
		return "email"
	default:
		return "user_id"
	}
}
