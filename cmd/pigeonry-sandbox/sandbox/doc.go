// Package sandbox is a set of message providers for trying out and for tests: an SMTP server, an
// SMPP message center that sends receipts, and an HTTP side with an inbox, faults and the ledger.
//
// The inbox shows what a recipient would have seen. The ledger is the witness: every message that
// ever reached a provider stands in it, in the order of arrival, with the outcome it was given,
// also when a fault then refused or dropped it. A line is written before the sender gets its
// answer, so what a sender knows to be accepted is always in the ledger.
//
// The binary pigeonry-sandbox is a thin main around Start; tests start it in their own process.
package sandbox
