package feishu

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// contentText reads the content of a message of an app; false if it does not fit its type.
func contentText(kind string, content []byte) (title, text string, ok bool) {
	switch kind {
	case "text":
		return fieldText(content, "text")
	case "post":
		return postText(content)
	case "interactive":
		return cardText(content)
	case "image":
		return fieldText(content, "image_key")
	case "share_chat":
		return fieldText(content, "chat_id")
	case "share_user":
		return fieldText(content, "user_id")
	case "file", "audio", "media", "sticker":
		return fieldText(content, "file_key")
	default:
		return "", "", false
	}
}

// fieldText is the one field that a content must have.
func fieldText(content []byte, field string) (title, text string, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(content, &fields) != nil || json.Unmarshal(fields[field], &text) != nil {
		return "", "", false
	}
	return "", text, text != ""
}

// postText reads the first language of a post: its title, and a line for each paragraph.
func postText(content []byte) (title, text string, ok bool) {
	var languages map[string]struct {
		Title   string             `json:"title"`
		Content [][]map[string]any `json:"content"`
	}
	if json.Unmarshal(content, &languages) != nil || len(languages) == 0 {
		return "", "", false
	}
	post := languages[slices.Sorted(maps.Keys(languages))[0]]
	if zh, found := languages["zh_cn"]; found {
		post = zh
	}
	var lines []string
	for _, paragraph := range post.Content {
		var line strings.Builder
		for _, node := range paragraph {
			tag, _ := node["tag"].(string)
			if tag == "" {
				return "", "", false
			}
			for _, field := range []string{"text", "user_id", "image_key"} {
				if s, isText := node[field].(string); isText {
					line.WriteString(s)
				}
			}
		}
		lines = append(lines, line.String())
	}
	return post.Title, strings.Join(lines, "\n"), post.Content != nil
}

// cardText is the title of a card, and all texts in it. Of a card that Feishu keeps, it is the template's id.
func cardText(content []byte) (title, text string, ok bool) {
	var card struct {
		Type string `json:"type"`
		Data struct {
			TemplateID string         `json:"template_id"`
			Variables  map[string]any `json:"template_variable"`
		} `json:"data"`
		Header struct {
			Title struct {
				Content string `json:"content"`
			} `json:"title"`
		} `json:"header"`
		Elements []any          `json:"elements"`
		Body     map[string]any `json:"body"` // of the second version of cards
	}
	if json.Unmarshal(content, &card) != nil {
		return "", "", false
	}
	if card.Type == "template" {
		lines := []string{card.Data.TemplateID}
		for _, name := range slices.Sorted(maps.Keys(card.Data.Variables)) {
			if value, isText := card.Data.Variables[name].(string); isText {
				lines = append(lines, name+"="+value)
			}
		}
		return "", strings.Join(lines, "\n"), card.Data.TemplateID != ""
	}
	var lines []string
	gather(card.Elements, &lines)
	gather(card.Body, &lines)
	return card.Header.Title.Content, strings.Join(lines, "\n"), len(card.Elements) > 0 || len(card.Body) > 0
}

// gather collects every text that stands in a field "content", in the order of the fields' names.
func gather(v any, lines *[]string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			gather(e, lines)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if text, ok := v[name].(string); ok && name == "content" {
				*lines = append(*lines, text)
				continue
			}
			gather(v[name], lines)
		}
	}
}
