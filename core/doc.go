// Package core is the vocabulary of the gateway: accounts, messages, statuses, attempts, outcomes,
// receipts, traces and error kinds, and the state machine that they obey. It imports the standard
// library only and does no input or output; every other package speaks these words.
package core
