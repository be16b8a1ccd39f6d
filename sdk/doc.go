// Package sdk is what the author of a Pigeonry channel plugin imports.
//
// A plugin is one executable whose whole main is a call of Serve with a Plugin value. The author
// writes a config struct and a type with a Send method; the SDK does the rest: it speaks the
// contract channel.v1 over gRPC, derives the JSON Schema from the struct tags and decodes configs
// strictly, bounds concurrency, turns errors and panics into outcomes, redacts secrets in logs and
// ends the process cleanly.
//
// Everything beyond Send is optional and found by type assertion on what Plugin.Open returned:
// BatchSender, Querier, CallbackHandler, Receiver, Checker, Drainer and io.Closer.
package sdk
