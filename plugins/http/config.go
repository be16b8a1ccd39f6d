package main

import (
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// config of a connector. Every text marked as a template may hold {{…}}, see template.go.
type config struct {
	URL    string `cfg:"url,required" doc:"Where to send a message. A template in path and query; what it inserts is escaped."`
	Method string `cfg:"method,default=POST,enum=GET|POST|PUT|PATCH|DELETE" doc:"Method of the request."`

	Headers           map[string]string     `cfg:"headers" doc:"Headers of the request; the values are templates."`
	SecretHeaders     map[string]sdk.Secret `cfg:"secret_headers" doc:"Headers whose values are credentials, taken as they are."`
	Secrets           map[string]sdk.Secret `cfg:"secrets" doc:"Credentials for templates: {{.secrets.name}}."`
	IdempotencyHeader string                `cfg:"idempotency_header" doc:"Header that carries the message's idempotency key, for a provider that drops repeats, e.g. Idempotency-Key."`

	Auth      *authConfig      `cfg:"auth" doc:"The Authorization header."`
	Signature *signatureConfig `cfg:"signature" doc:"A header with the HMAC-SHA256 of the request."`
	Body      *bodyConfig      `cfg:"body" doc:"Body of the request. Left out: the whole message as JSON, and nothing for GET and DELETE."`
	Status    statusConfig     `cfg:"status" doc:"What the status of the answer means, where it is not the usual."`
	Answer    *answerConfig    `cfg:"answer" doc:"What the body of the answer means."`
	Callback  *callbackConfig  `cfg:"callback" doc:"The requests that the provider makes: receipts and inbound messages."`

	CheckURL       string        `cfg:"check_url" doc:"URL to GET when the connector is checked, with auth and secret_headers. A template of .secrets and .now. Left out: the server is connected to, and asked nothing."`
	ConnectTimeout time.Duration `cfg:"connect_timeout,default=10s,min=1ms,max=5m" doc:"How long connecting and TLS may take, each."`
	Timeout        time.Duration `cfg:"timeout,default=30s,min=1ms,max=10m" doc:"How long a request may take in all."`
	MaxAnswerBytes int           `cfg:"max_answer_bytes,default=1048576,min=1024,max=16777216" doc:"How much of an answer is read."`

	TLSCA      string     `cfg:"tls_ca" doc:"Certificates (PEM) of the authorities to trust instead of the system's, e.g. file(\"ca.pem\")."`
	TLSCert    string     `cfg:"tls_cert" doc:"Certificate (PEM) of this client, where the provider asks for one."`
	TLSKey     sdk.Secret `cfg:"tls_key" doc:"Private key (PEM) of tls_cert."`
	WithoutTLS bool       `cfg:"without_tls" doc:"Allows http:// to another machine: credentials and messages go in clear."`
}

// authConfig is one of two ways to log in.
type authConfig struct {
	Bearer   sdk.Secret `cfg:"bearer" doc:"Token after Bearer."`
	Username string     `cfg:"username" doc:"User of basic authentication."`
	Password sdk.Secret `cfg:"password" doc:"Password of basic authentication."`
}

// signatureConfig says how a request is signed.
type signatureConfig struct {
	Secret          sdk.Secret `cfg:"secret,required" doc:"The shared key."`
	SecretEncoding  string     `cfg:"secret_encoding,default=text,enum=text|base64|hex" doc:"How the key is written. base64 takes the prefix whsec_ too."`
	Header          string     `cfg:"header,default=X-Signature" doc:"Header with the signature."`
	Prefix          string     `cfg:"prefix" doc:"What stands before the signature in the header, e.g. sha256= or v1,"`
	Encoding        string     `cfg:"encoding,default=hex,enum=hex|base64" doc:"How the signature is written."`
	TimestampHeader string     `cfg:"timestamp_header" doc:"Header with the time of signing. Empty: none."`
	TimestampFormat string     `cfg:"timestamp_format,default=unix,enum=unix|unix_ms" doc:"Seconds or milliseconds."`
	Content         string     `cfg:"content" doc:"What is signed, a template. Left out: the body, and with timestamp_header {{.timestamp}}.{{.body}}"`
}

// bodyConfig is a body of one kind.
type bodyConfig struct {
	JSON        string            `cfg:"json" doc:"A template that makes JSON: {\"to\": {{json .recipient}}}"`
	Form        map[string]string `cfg:"form" doc:"Fields of a form; the values are templates, escaped by themselves."`
	Text        string            `cfg:"text" doc:"A template that makes plain text."`
	Raw         string            `cfg:"raw" doc:"A template that makes whatever content_type says."`
	ContentType string            `cfg:"content_type" doc:"Content-Type of the body. Only raw needs it."`
}

// statusConfig lists statuses by outcome: "404", "500-599", "5xx".
type statusConfig struct {
	Accepted  []string `cfg:"accepted" doc:"Statuses of the answer that mean: the provider took the message."`
	Rejected  []string `cfg:"rejected" doc:"… it refused the message for good."`
	Retryable []string `cfg:"retryable" doc:"… it surely did not take the message; a later attempt may succeed."`
	Throttled []string `cfg:"throttled" doc:"… it surely did not take the message; slow down."`
	Uncertain []string `cfg:"uncertain" doc:"… nobody knows."`
}

// answerConfig reads the body of an answer. All but Format, Pattern and Results are paths, see path.go.
type answerConfig struct {
	Format     string         `cfg:"format,default=json,enum=json|form|text" doc:"Format of the answer. text: pattern finds the fields."`
	Pattern    string         `cfg:"pattern" doc:"Regular expression whose named groups are the fields of a text, e.g. ^(?P<code>\\d+),(?P<id>\\w*)"`
	ID         string         `cfg:"id" doc:"Path of the provider's id of the message; a list gives several."`
	Code       string         `cfg:"code" doc:"Path of the provider's code. It decides over the status by results."`
	Message    string         `cfg:"message" doc:"Path of the text that explains the code."`
	RetryAfter string         `cfg:"retry_after" doc:"Path of the seconds to wait, in an answer that throttles."`
	Segments   string         `cfg:"segments" doc:"Path of the number of parts that the provider bills."`
	Cost       string         `cfg:"cost" doc:"Path of what the provider charges, a decimal number."`
	Currency   string         `cfg:"currency" doc:"Currency of cost: its code, e.g. EUR, or the path of it."`
	Results    []resultConfig `cfg:"results" doc:"What the codes mean; the first that fits counts."`
}

// resultConfig says what codes of the provider mean.
type resultConfig struct {
	Codes      []string      `cfg:"codes,required,min=1" doc:"Codes of the provider. A * at the end stands for any rest; an empty one for no code."`
	Outcome    string        `cfg:"outcome,required,enum=accepted|rejected|retryable|throttled|uncertain" doc:"What they mean."`
	Code       string        `cfg:"code" doc:"The gateway's code for them, e.g. invalid_recipient."`
	Fault      string        `cfg:"fault,enum=message|provider|config" doc:"Whose fault it is. Left out: the message's when rejected, else the provider's."`
	RetryAfter time.Duration `cfg:"retry_after,min=0s,max=24h" doc:"How long to wait at least."`
}

// callbackConfig verifies and reads the provider's requests.
type callbackConfig struct {
	Method  string `cfg:"method,default=POST,enum=GET|POST|PUT" doc:"Method of the provider's requests."`
	Format  string `cfg:"format,default=json,enum=json|form|query|text" doc:"Where their fields are: in a JSON or form body, in the URL's query, or in a text where pattern finds them."`
	Pattern string `cfg:"pattern" doc:"Regular expression whose named groups are the fields of a text."`

	Token       sdk.Secret    `cfg:"token" doc:"Shared token that each request carries."`
	TokenHeader string        `cfg:"token_header" doc:"Header that carries it. In Authorization it may follow Bearer."`
	TokenQuery  string        `cfg:"token_query" doc:"Parameter of the URL that carries it."`
	Username    string        `cfg:"username" doc:"User of basic authentication."`
	Password    sdk.Secret    `cfg:"password" doc:"Password of basic authentication."`
	Signature   *verifyConfig `cfg:"signature" doc:"A header with the HMAC-SHA256 of the request."`
	Unverified  bool          `cfg:"unverified" doc:"Believes every request. Whoever knows the address can forge receipts."`

	AnswerStatus int    `cfg:"answer_status,default=200,min=200,max=299" doc:"Status of our answer."`
	AnswerBody   string `cfg:"answer_body" doc:"Body of our answer, as it is."`
	AnswerType   string `cfg:"answer_type,default=text/plain; charset=utf-8" doc:"Content-Type of our answer."`

	Receipts *receiptsConfig `cfg:"receipts" doc:"How a receipt is read."`
	Inbound  *inboundConfig  `cfg:"inbound" doc:"How a message from a user is read."`
}

// verifyConfig says how a request of the provider is signed.
type verifyConfig struct {
	signatureConfig

	Tolerance time.Duration `cfg:"tolerance,default=5m,min=1s,max=24h" doc:"How far the time in timestamp_header may be off."`
}

// eventConfig is what receipts and inbound messages have in common.
type eventConfig struct {
	Path  string            `cfg:"path" doc:"Path below the callback URL that brings them, e.g. /status. Empty: any."`
	Items string            `cfg:"items" doc:"Path of the list, or of the one object, that the other paths begin at. Empty: the whole payload."`
	Match map[string]string `cfg:"match" doc:"Paths and the value that each must have; others are passed over."`

	Time       string `cfg:"time" doc:"Path of the time at which it happened."`
	TimeFormat string `cfg:"time_format,default=auto" doc:"auto: RFC 3339, or seconds or milliseconds since 1970; otherwise a Go layout, e.g. 2006-01-02 15:04:05"`
	TimeZone   string `cfg:"time_zone,default=UTC" doc:"Zone of a time that names none, e.g. Asia/Shanghai."`
}

// receiptsConfig reads receipts.
type receiptsConfig struct {
	eventConfig

	ID        string            `cfg:"id" doc:"Path of the provider's id, the one that answer.id found."`
	AttemptID string            `cfg:"attempt_id" doc:"Path of our own id, for a provider that hands back {{.attempt_id}}."`
	Status    string            `cfg:"status,required" doc:"Path of the status."`
	Statuses  map[string]string `cfg:"statuses,required,min=1" doc:"What the statuses mean: delivered, undelivered, read or progress. * stands for any other."`
	Code      string            `cfg:"code" doc:"Path of the code that says why a message was not delivered."`
	Message   string            `cfg:"message" doc:"Path of the text that explains it."`
	Recipient string            `cfg:"recipient" doc:"Path of the recipient."`
}

// inboundConfig reads messages of users.
type inboundConfig struct {
	eventConfig

	ID   string `cfg:"id" doc:"Path of the provider's id of the message. It or time is required."`
	From string `cfg:"from,required" doc:"Path of the sender."`
	To   string `cfg:"to" doc:"Path of the address that it was sent to."`
	Text string `cfg:"text,required" doc:"Path of the text."`
}
