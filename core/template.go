package core

import "time"

// TemplateStatus says whether a template can be used.
type TemplateStatus string

// The statuses of a template.
const (
	TemplateActive   TemplateStatus = "active"
	TemplateDisabled TemplateStatus = "disabled"
)

// Template is a text with {{variables}} for one channel.
type Template struct {
	ID      TemplateID
	Account AccountID
	Name    string
	Channel string
	Subject string
	Content string
	HTML    string
	// ProviderTemplates are used by providers that send no text of ours; their parameters may use variables. By connector, or
	// AnyConnector.
	ProviderTemplates map[ConnectorID]ProviderTemplate
	Variables         []string // declared names; the text may use no other
	Status            TemplateStatus
	Revision          int // grows with each change
	CreatedAt         time.Time
	UpdatedAt         time.Time
}
