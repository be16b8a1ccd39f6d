package dispatch

import (
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/core"
)

// Match says which messages a connector takes: those that fit all of it. What is empty fits every message.
type Match struct {
	Accounts  []string // names
	Countries []string // ISO 3166-1 alpha-2, of the recipient's phone number
	Prefixes  []string // beginnings of the recipient, such as "+4477"
	Templates []core.TemplateID
	// ProviderTemplate takes only messages that name a template of the provider's own for this connector: its provider sends
	// nothing else.
	ProviderTemplate bool
}

// Facts is what a Match asks about a message beyond what stands in it.
type Facts interface {
	// Country returns that of a phone number, as ISO 3166-1 alpha-2; "" if it has none.
	Country(recipient string) string
	// AccountName returns the name of an account, and false where it cannot be had now.
	AccountName(id core.AccountID) (string, bool)
}

// takes says whether a connector takes a message of an account.
func (t *Match) takes(m *core.Message, id core.ConnectorID, account, country string) bool {
	return fits(t.Templates, m.Template) && fits(t.Accounts, account) && fits(t.Countries, country) &&
		(len(t.Prefixes) == 0 || slices.ContainsFunc(t.Prefixes, func(p string) bool { return strings.HasPrefix(m.Recipient, p) })) &&
		t.sends(&m.Content, id)
}

// sends says whether a connector has something to send of a content: one without a text is for the connectors that it has a
// template for.
func (t *Match) sends(c *core.Content, id core.ConnectorID) bool {
	if len(c.ProviderTemplates) == 0 {
		return !t.ProviderTemplate
	}
	own := c.TemplateFor(id) != nil
	return own || (!t.ProviderTemplate && (c.Text != "" || c.HTML != ""))
}

func fits[T comparable](wanted []T, v T) bool { return len(wanted) == 0 || slices.Contains(wanted, v) }

// nothing knows no facts.
type nothing struct{}

// Country implements Facts.
func (nothing) Country(string) string { return "" }

// AccountName implements Facts.
func (nothing) AccountName(core.AccountID) (string, bool) { return "", true }
