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
	// AccountName returns the name of an account; "" if it is not known.
	AccountName(id core.AccountID) string
}

// takes says whether a connector takes a message.
func (t *Match) takes(m *core.Message, id core.ConnectorID, facts Facts) bool {
	return fits(t.Templates, m.Template) &&
		(len(t.Accounts) == 0 || slices.Contains(t.Accounts, facts.AccountName(m.Account))) &&
		(len(t.Countries) == 0 || slices.Contains(t.Countries, facts.Country(m.Recipient))) &&
		(len(t.Prefixes) == 0 || slices.ContainsFunc(t.Prefixes, func(p string) bool { return strings.HasPrefix(m.Recipient, p) })) &&
		(!t.ProviderTemplate || m.Content.TemplateFor(id) != nil)
}

func fits[T comparable](wanted []T, v T) bool { return len(wanted) == 0 || slices.Contains(wanted, v) }

// nothing knows no facts.
type nothing struct{}

// Country implements Facts.
func (nothing) Country(string) string { return "" }

// AccountName implements Facts.
func (nothing) AccountName(core.AccountID) string { return "" }
