package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/pigeonry/pigeonry/sdk"
)

// address is a URL whose path and query may be templates. Scheme and host are constant: no message
// chooses where it goes, and with it the credentials.
type address struct {
	*tmpl

	scheme, host string
}

// compileAddress reads the template of a URL.
func compileAddress(field, source string, withoutTLS bool, samples sampler) (*address, error) {
	refuse := func(summary, detail string) (*address, error) { return nil, sdk.FieldError(field, summary, detail) }
	constant, _, templated := strings.Cut(source, "{{")
	base, err := url.Parse(constant)
	if err != nil {
		return refuse("is no URL", "write it as https://api.example.com/messages")
	}
	authority := strings.TrimPrefix(constant, base.Scheme+"://")
	switch {
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		return refuse("does not begin with https:// and a host", "write it as https://api.example.com/messages")
	case base.User != nil:
		return refuse("holds credentials", "put them into auth")
	case templated && !strings.ContainsAny(authority, "/?"):
		return refuse("has a template before its path", "scheme and host are constant: https://api.example.com/{{.recipient}}")
	case base.Scheme == "http" && !withoutTLS && !local(base.Hostname()):
		return refuse("sends credentials and messages in clear", "use https://, or set without_tls = true where the network can be trusted")
	}
	t, err := parseTemplate(field, source)
	if err != nil {
		return nil, err
	}
	escapeAll(t)
	a := &address{t, base.Scheme, base.Host}
	texts, err := t.try(samples)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if _, err := a.parse(text); err != nil {
			return refuse(err.Error(), "values are escaped by themselves; escape the constant parts as a URL asks for")
		}
	}
	return a, nil
}

// local says whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// escapeAll makes every value that the template inserts percent-encoded, unless it says so itself.
func escapeAll(t *tmpl) {
	for _, part := range t.parsed.Templates() {
		if part.Tree != nil {
			visit(part.Root, escapeAction)
		}
	}
}

func escapeAction(n parse.Node) {
	action, ok := n.(*parse.ActionNode)
	if !ok || len(action.Pipe.Decl) > 0 || len(action.Pipe.Cmds) == 0 {
		return
	}
	const escape = "urlquery"
	last := action.Pipe.Cmds[len(action.Pipe.Cmds)-1]
	if name, ok := last.Args[0].(*parse.IdentifierNode); ok && name.Ident == escape {
		return
	}
	action.Pipe.Cmds = append(action.Pipe.Cmds, &parse.CommandNode{
		NodeType: parse.NodeCommand, Pos: last.Pos,
		Args: []parse.Node{parse.NewIdentifier(escape).SetPos(last.Pos)},
	})
}

// resolve makes the URL for one message.
func (a *address) resolve(data fields) (*url.URL, error) {
	text, err := a.render(data)
	if err != nil {
		return nil, err
	}
	return a.parse(text)
}

// parse holds the text of a URL against what the template promises. Errors do not quote it: a
// credential may stand in it.
func (a *address) parse(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s makes no URL", a.field)
	case u.Scheme != a.scheme || u.Host != a.host || u.User != nil:
		return nil, fmt.Errorf("%s makes a URL of another server", a.field)
	case strings.Contains(text, "#"):
		return nil, fmt.Errorf("%s makes a URL with a fragment, which no server sees", a.field)
	}
	// A server takes %2E%2E for .. just the same.
	if segments := strings.Split(u.Path, "/"); slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return nil, errors.New(a.field + " makes a URL with . or .. in its path")
	}
	return u, nil
}
