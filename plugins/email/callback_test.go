package main

import (
	"net/http"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestBounceWebhook(t *testing.T) {
	const token = "token-of-the-webhook"
	c := connect(t, 25, func(c *config) { c.BounceToken = token })
	raw := dsn("shop@example.com", "failed", "5.1.1", "550 no", ours)
	with := func(edit func(*sdk.CallbackRequest)) *sdk.CallbackRequest {
		r := &sdk.CallbackRequest{Method: "POST", Path: "/bounce", Header: http.Header{"Authorization": {"Bearer " + token}}, Body: []byte(raw)}
		edit(r)
		return r
	}
	tests := []struct {
		name     string
		c        *connector
		edit     func(*sdk.CallbackRequest)
		status   int
		receipts int
	}{
		{"token in the header", c, func(*sdk.CallbackRequest) {}, 200, 1},
		{"token in the query", c, func(r *sdk.CallbackRequest) { r.Header, r.Query = http.Header{}, "token="+token }, 200, 1},
		{"a slash at the end", c, func(r *sdk.CallbackRequest) { r.Path = "/bounce/" }, 200, 1},
		{"a mail out of an mbox", c, func(r *sdk.CallbackRequest) { r.Body = append([]byte("From x Fri Nov 27\n"), r.Body...) }, 200, 1},
		{"no report", c, func(r *sdk.CallbackRequest) { r.Body = []byte("Subject: away\r\n\r\nI am away.\r\n") }, 200, 0},
		{"nothing", c, func(r *sdk.CallbackRequest) { r.Body = nil }, 200, 0},
		{"wrong token", c, func(r *sdk.CallbackRequest) { r.Header.Set("Authorization", "Bearer "+token+"x") }, 401, 0},
		{"no token", c, func(r *sdk.CallbackRequest) { r.Header = http.Header{} }, 401, 0},
		{"a broken query", c, func(r *sdk.CallbackRequest) { r.Header, r.Query = http.Header{}, "%" }, 401, 0},
		{"a GET", c, func(r *sdk.CallbackRequest) { r.Method = "GET" }, 405, 0},
		{"another path", c, func(r *sdk.CallbackRequest) { r.Path = "/elsewhere" }, 404, 0},
		{"no path", c, func(r *sdk.CallbackRequest) { r.Path = "/" }, 404, 0},
		{"not configured", connect(t, 25), func(*sdk.CallbackRequest) {}, 404, 0},
		{"not configured, no token", connect(t, 25), func(r *sdk.CallbackRequest) { r.Header.Set("Authorization", "Bearer ") }, 404, 0},
	}
	for _, test := range tests {
		answer, events, err := test.c.HandleCallback(t.Context(), with(test.edit))
		if err != nil || answer.Status != test.status || len(events.Receipts) != test.receipts {
			t.Errorf("%s gives %d %s, %+v, %v", test.name, answer.Status, answer.Body, events, err)
		}
	}
}
