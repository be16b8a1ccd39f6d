package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of what WeChat may push. Its largest documented events have some dozens of fields, three levels deep.
const (
	maxPushBytes  = 256 << 10
	maxPushDepth  = 16
	maxPushFields = 1000
)

// push is the body of a callback: what stands in the leaves of a tree, by their path such as "ScanCodeInfo.ScanType". Of
// siblings of one name the second has "_2" added, and so on.
type push struct{ fields []pushField }

type pushField struct{ path, value string }

// get returns the first value at path, or nothing.
func (p *push) get(path string) string {
	i := slices.IndexFunc(p.fields, func(f pushField) bool { return f.path == path })
	if i < 0 {
		return ""
	}
	return p.fields[i].value
}

func (p *push) add(path, value string) error {
	if len(p.fields) >= maxPushFields {
		return fmt.Errorf("it has more than %d fields", maxPushFields)
	}
	p.fields = append(p.fields, pushField{path, value})
	return nil
}

// parsePush reads a body: XML with the root <xml>, which is all that Official Accounts get, or a JSON object.
func parsePush(body []byte) (*push, error) {
	if len(body) > maxPushBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxPushBytes)
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return parseJSON(body)
	}
	return parseXML(body)
}

// branch makes the paths of what is below one element.
type branch struct {
	path   string
	seen   map[string]int // how many children of a name there have been
	text   strings.Builder
	parent bool // has children, so that its text is only what indents them
}

func newBranch(path string) *branch { return &branch{path: path, seen: map[string]int{}} }

// child is the path of the next child with that name.
func (b *branch) child(name string) string {
	b.parent = true
	b.seen[name]++
	if n := b.seen[name]; n > 1 {
		name += "_" + strconv.Itoa(n)
	}
	if b.path == "" {
		return name
	}
	return b.path + "." + name
}

// parseXML takes elements and text alone. A document type is refused, and with it every entity of its own; encoding/xml
// knows no entities but the five of XML and expands no others.
func parseXML(body []byte) (*push, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	reader := xmlReader{push: &push{}}
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF) && reader.done:
			return reader.push, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("it is empty")
		case err != nil:
			return nil, err //nolint:wrapcheck // says what and where
		}
		if err := reader.take(token); err != nil {
			return nil, err
		}
	}
}

// xmlReader builds a push from tokens, which the decoder has made sure are well-formed.
type xmlReader struct {
	push *push
	open []*branch // from the root inwards
	done bool      // the root has ended
}

func (r *xmlReader) take(token xml.Token) error {
	switch token := token.(type) {
	case xml.StartElement:
		return r.start(token.Name.Local)
	case xml.EndElement:
		return r.end()
	case xml.CharData:
		return r.characters(token)
	case xml.ProcInst:
		if token.Target != "xml" {
			return errors.New("it has a processing instruction")
		}
	case xml.Directive:
		return errors.New("it has a document type")
	}
	return nil
}

func (r *xmlReader) start(name string) error {
	path := ""
	switch {
	case len(r.open) == 0 && (r.done || name != "xml"):
		return errors.New("the root is not <xml>")
	case len(r.open) > maxPushDepth:
		return fmt.Errorf("it is more than %d levels deep", maxPushDepth)
	case len(r.open) > 0:
		path = r.open[len(r.open)-1].child(name)
	}
	r.open = append(r.open, newBranch(path))
	return nil
}

func (r *xmlReader) end() error {
	last := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	r.done = len(r.open) == 0
	if last.parent || r.done {
		return nil
	}
	return r.push.add(last.path, strings.TrimSpace(last.text.String()))
}

func (r *xmlReader) characters(text xml.CharData) error {
	if len(r.open) > 0 {
		r.open[len(r.open)-1].text.Write(text)
		return nil
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return errors.New("there is text outside of <xml>")
	}
	return nil
}

// parseJSON reads the form that WeChat documents beside XML.
func parseJSON(body []byte) (*push, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err //nolint:wrapcheck // says what and where
	}
	if decoder.More() {
		return nil, errors.New("there is more than one object")
	}
	out := &push{}
	return out, flatten(out, newBranch(""), tree, 0)
}

func flatten(out *push, at *branch, tree map[string]any, depth int) error {
	if depth > maxPushDepth {
		return fmt.Errorf("it is more than %d levels deep", maxPushDepth)
	}
	names := make([]string, 0, len(tree))
	for name := range tree {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		siblings, many := tree[name].([]any)
		if !many {
			siblings = []any{tree[name]}
		}
		for _, value := range siblings {
			if err := flattenValue(out, at.child(name), value, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func flattenValue(out *push, path string, value any, depth int) error {
	switch value := value.(type) {
	case map[string]any:
		return flatten(out, newBranch(path), value, depth+1)
	case string:
		return out.add(path, value)
	case nil:
		return out.add(path, "")
	default:
		return out.add(path, fmt.Sprint(value))
	}
}

// attributeName writes a path as attributes are called: ScanCodeInfo.ScanType is scan_code_info.scan_type, MsgID is msg_id.
func attributeName(path string) string {
	runes := []rune(path)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && startsWord(runes, i) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// startsWord tells whether the capital at i begins a word: it follows a small letter or a digit, or precedes a small one.
func startsWord(runes []rune, i int) bool {
	before := runes[i-1]
	if unicode.IsLower(before) || unicode.IsDigit(before) {
		return true
	}
	return unicode.IsUpper(before) && i+1 < len(runes) && unicode.IsLower(runes[i+1])
}
