package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// hostile is a text with all that breaks a format into which it is pasted unescaped.
const hostile = "it's \"5 < 6 & 7\"\\\n{{x}} 短信 100%+/?#"

// sampleCallbackURL is where the provider calls back about samples.
const sampleCallbackURL = "https://gateway.example.com/callbacks/http/main"

// sampleTime is when samples are sent.
var sampleTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// messageSamples are a message with everything in it, hostile at that, and one with almost nothing.
// Every name that a template reads is among the attributes and parameters, where any name may be; so is a hostile one, for
// templates that insert them all.
func messageSamples(c *config) sampler {
	secrets := reveal(c.Secrets)
	return func(names []string) []fields {
		full, empty := make(map[string]string, len(names)), make(map[string]string, len(names))
		for _, n := range names {
			full[n], empty[n] = hostile, ""
		}
		full[hostile] = hostile
		sample := func(content sdk.Content, callbackURL string) fields {
			data := commonFields(sampleTime, unixSeconds, secrets)
			messageFields(data, &sdk.Message{
				ID: "msg_1", AttemptID: "1:1", IdempotencyKey: "key", Connector: "http/main", Recipient: "+8613800138000" + hostile,
				Attempt: 1, Priority: 5, Content: content,
			}, callbackURL)
			return data
		}
		return []fields{
			sample(sdk.Content{
				Plain: hostile, HTML: hostile, Subject: hostile, Attributes: full,
				Template:    &sdk.Template{ID: hostile, Parameters: full},
				Attachments: []sdk.Attachment{{Name: hostile, ContentType: hostile, ContentID: hostile, URL: hostile, Data: []byte(hostile)}},
			}, sampleCallbackURL),
			sample(sdk.Content{Plain: hostile, Attributes: empty, Template: &sdk.Template{Parameters: empty}}, ""),
		}
	}
}

// requestSamples are messageSamples with the request that they became.
func requestSamples(c *config) sampler {
	return func(names []string) []fields {
		out := messageSamples(c)(names)
		for _, data := range out {
			requestFields(data, &url.URL{Scheme: "https", Host: "example.com", Path: "/"}, c.Method, hostile)
		}
		return out
	}
}

// checkSamples are for templates that know no message.
func checkSamples(c *config) sampler {
	return func([]string) []fields {
		return []fields{commonFields(sampleTime, unixSeconds, reveal(c.Secrets))}
	}
}

// callbackSamples are a request of the provider. Any header may be in it.
func callbackSamples(c *config) sampler {
	return func(names []string) []fields {
		header := make(http.Header, len(names))
		for _, n := range names {
			header.Set(n, hostile)
		}
		r := &sdk.CallbackRequest{Method: http.MethodPost, Path: "/", URL: "https://example.com/", Header: header, Body: []byte(hostile)}
		return []fields{callbackFields(r, timestamp(sampleTime, unixSeconds), reveal(c.Secrets))}
	}
}
