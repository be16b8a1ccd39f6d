package main

import (
	"errors"
	"fmt"
	"net/textproto"
)

// stage is how far a conversation with the server has come. What a failure means depends on it.
type stage string

const (
	stageConnect stage = "connect"
	stageGreet   stage = "greeting"
	stageTLS     stage = "TLS"
	stageLogin   stage = "login"
	stageMail    stage = "MAIL"
	stageRcpt    stage = "RCPT"
	stageData    stage = "DATA"
	stageContent stage = "content"
	// stageAnswer begins when the dot that ends the mail has been written: from here on the server
	// may have taken the mail.
	stageAnswer stage = "answer"
)

// failure is what went wrong, and where.
type failure struct {
	stage stage
	err   error
	// setup says that no repeat can help until somebody changes the connector's config.
	setup bool
	// hangUp says that the conversation cannot go on though the connection stands.
	hangUp bool
}

// Error implements error.
func (f *failure) Error() string { return fmt.Sprintf("%s: %v", f.stage, f.err) }

// Unwrap implements errors.Unwrap.
func (f *failure) Unwrap() error { return f.err }

// reply is the server's answer, if it was an answer that went wrong.
func (f *failure) reply() (*textproto.Error, bool) {
	return errors.AsType[*textproto.Error](f.err)
}

// broken tells whether the connection is of no more use.
func (f *failure) broken() bool {
	answer, answered := f.reply()
	return f.hangUp || !answered || answer.Code == replyClosing
}

// replyClosing is the answer of a server that closes the connection (RFC 5321 section 3.8).
const replyClosing = 421

func fail(s stage, err error) *failure { return &failure{stage: s, err: err} }
