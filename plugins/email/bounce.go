package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/email/report"
	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of mails that were taken and came back.
const (
	codeUndelivered = "undelivered"
	codeUnreachable = "unreachable"
	codeComplaint   = "complaint"
)

// Attributes of inbound events.
const (
	attributeEvent   = "event"
	eventUnsubscribe = "unsubscribe"
	eventComplaint   = "complaint"
)

const placeAttempt = "{attempt}"

// returnPath is where the bounces of a connector go. With a place for the attempt in it, every mail has an address of
// its own (VERP), and a bounce tells by its address alone which attempt it is about.
type returnPath struct {
	address        string // without a place for the attempt; empty where there is one
	prefix, suffix string // around the attempt, in the local part
	domain         string
	secret         []byte // signs attempts; empty: none is read from a report, as anybody can guess one
}

// newReturnPath reads the config. An error names its field.
func newReturnPath(c config, sender string) (returnPath, error) {
	if c.BounceAddress == "" {
		address := sender
		if c.EnvelopeFrom != "" {
			var err error
			if address, err = parseMailbox(c.EnvelopeFrom); err != nil {
				return returnPath{}, sdk.FieldError("envelope_from", err.Error(), "write it as bounces@example.com")
			}
		}
		return returnPath{address: address, secret: []byte(c.BounceSecret.Reveal())}, nil
	}
	const remedy = "write it as bounce+{attempt}@example.com"
	refuse := func(why string) (returnPath, error) {
		return returnPath{}, sdk.FieldError("bounce_address", why, remedy)
	}
	if c.EnvelopeFrom != "" {
		return refuse("says the same as envelope_from")
	}
	address, err := parseMailbox(strings.Replace(c.BounceAddress, placeAttempt, "ATTEMPT", 1))
	if err != nil {
		return refuse(err.Error())
	}
	local, domain := address[:strings.LastIndexByte(address, '@')], domainOf(address)
	prefix, suffix, found := strings.Cut(local, "ATTEMPT")
	if !found || !strings.Contains(c.BounceAddress[:strings.LastIndexByte(c.BounceAddress, '@')], placeAttempt) {
		return refuse("has no {attempt} before the @")
	}
	path := returnPath{prefix: prefix, suffix: suffix, domain: domain, secret: []byte(c.BounceSecret.Reveal())}
	if longest := path.of("9007199254740991.99999"); longest == "" {
		return refuse(fmt.Sprintf("has no room for an attempt within the %d bytes before the @", maxLocalPart))
	}
	return path, nil
}

// of is the envelope's sender for an attempt; empty if the attempt's id does not fit in.
func (p *returnPath) of(attemptID string) string {
	if p.address != "" {
		return p.address
	}
	local := p.prefix + p.mark(attemptID) + p.suffix
	if len(local) > maxLocalPart {
		return ""
	}
	return local + "@" + p.domain
}

// gatewayAttempt is the form of the gateway's ids: <record>.<attempt>.
var gatewayAttempt = regexp.MustCompile(`^\d{1,19}\.\d{1,9}$`)

// mark writes an attempt in lower case letters, digits and dots: servers on the way may change the case. With a secret,
// a signature follows, so that nobody can make up a bounce of a mail that he has not got.
func (p *returnPath) mark(attemptID string) string {
	mark := attemptID
	if !gatewayAttempt.MatchString(attemptID) {
		mark = "x" + hex.EncodeToString([]byte(attemptID))
	}
	if len(p.secret) > 0 {
		mark += "-" + p.tag(attemptID)
	}
	return mark
}

// tagBytes is how much of the HMAC an address carries: 80 bits.
const tagBytes = 10

func (p *returnPath) tag(attemptID string) string {
	h := hmac.New(sha256.New, p.secret)
	h.Write([]byte("bounce\x00" + attemptID))
	return hex.EncodeToString(h.Sum(nil)[:tagBytes])
}

// attempt reads a mark; empty if it is none of ours, or not signed.
func (p *returnPath) attempt(mark string) string {
	mark, tag, tagged := strings.Cut(strings.ToLower(mark), "-")
	id := mark
	if encoded, odd := strings.CutPrefix(mark, "x"); odd {
		decoded, err := hex.DecodeString(encoded)
		if err != nil || gatewayAttempt.Match(decoded) {
			return ""
		}
		id = string(decoded)
	} else if !gatewayAttempt.MatchString(mark) {
		return ""
	}
	if len(p.secret) == 0 || !tagged || !hmac.Equal([]byte(tag), []byte(p.tag(id))) {
		return ""
	}
	return id
}

// attemptOf reads the attempt out of an address that of made; empty if there is none in it.
func (p *returnPath) attemptOf(address string) string {
	at := strings.LastIndexByte(address, '@')
	if p.address != "" || at < 0 || !strings.EqualFold(address[at+1:], p.domain) {
		return ""
	}
	local := address[:at]
	inner := len(local) - len(p.prefix) - len(p.suffix)
	if inner <= 0 || !strings.EqualFold(local[:len(p.prefix)], p.prefix) || !strings.EqualFold(local[len(local)-len(p.suffix):], p.suffix) {
		return ""
	}
	return p.attempt(local[len(p.prefix) : len(p.prefix)+inner])
}

// reported is a mail of ours that a report is about.
type reported struct {
	attemptID  string // by an address or an envelope id of ours
	providerID string // by the Message-ID
	key        string // tells it from other mails and other attempts
}

// whose finds the mail that a report is about. Ids that anybody can make up, such as X-Pigeonry-Id, are not believed:
// an address and an envelope id of ours count where they are signed, and a Message-ID is known to those alone who got the mail.
func (id *identity) whose(r *report.Report) (reported, bool) {
	var out reported
	candidates := r.SentTo
	if r.Feedback != nil && r.Feedback.MailFrom != "" {
		candidates = append(candidates, r.Feedback.MailFrom)
	}
	if returned := r.Original.Get("Return-Path"); returned != "" {
		candidates = append(candidates, strings.Trim(returned, "<> "))
	}
	for _, address := range candidates {
		if out.attemptID = id.returnPath.attemptOf(address); out.attemptID != "" {
			break
		}
	}
	if out.attemptID == "" && r.EnvelopeID != "" {
		out.attemptID = id.returnPath.attempt(r.EnvelopeID)
	}
	messageID := r.Original.MessageID()
	if _, domain, ok := strings.Cut(messageID, "@"); ok && strings.EqualFold(domain, id.idDomain) && len(messageID) <= maxMessageID {
		out.providerID = messageID
	}
	out.key = out.attemptID
	if out.key == "" {
		out.key = out.providerID + "#" + number(r.Original.Get(headerAttempt))
	}
	return out, out.attemptID != "" || out.providerID != ""
}

// maxMessageID bounds the Message-ID of a report; ours are shorter.
const maxMessageID = 200

// number is a text if it is a small number, and "0" if not.
func number(text string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return "0"
	}
	return strconv.FormatUint(n, 10)
}

// events are what a report says to the gateway; none if it is about no mail of ours.
func (id *identity) events(r *report.Report) sdk.Events {
	of, ok := id.whose(r)
	if !ok {
		return sdk.Events{}
	}
	if r.Feedback != nil {
		return id.complaint(r, of)
	}
	var out sdk.Events
	for i := range r.Recipients {
		if receipt, ok := bounce(&r.Recipients[i], of); ok {
			if receipt.At.IsZero() {
				receipt.At = r.At
			}
			out.Receipts = append(out.Receipts, receipt)
		}
	}
	return out
}

// bounce turns what is said of one recipient into a receipt.
func bounce(r *report.Recipient, of reported) (sdk.DeliveryReceipt, bool) {
	out := sdk.DeliveryReceipt{
		DedupeKey: "dsn/" + of.key + "/" + r.Action, ProviderID: of.providerID, AttemptID: of.attemptID,
		At: r.At, Recipient: orElse(r.Original, r.Final),
	}
	switch r.Action { // RFC 3464 section 2.3.3
	case "failed":
		out.Status, out.Err = sdk.Undelivered, bounceError(r)
	case "delivered":
		out.Status = sdk.Delivered
	case "relayed", "expanded":
		out.Status = sdk.Progress
	case "delayed":
		out.Status, out.Err = sdk.Progress, bounceError(r)
	default:
		return out, false
	}
	return out, true
}

// bounceError says why a mail came back, or is late.
func bounceError(r *report.Recipient) error {
	answer := reply{enhanced: r.Status, text: strings.ToLower(r.Diagnostic)}
	if r.DiagnosticType == "smtp" || r.DiagnosticType == "" {
		answer.code, answer.enhanced = smtpCode(r.Diagnostic, r.Status)
	}
	code, fault := bounceCode(answer)
	if r.Action == "delayed" {
		code, fault = codeDeferred, sdk.FaultProvider
	}
	text := orElse(excerpt(r.Diagnostic), "the server gave no reason")
	if r.RemoteMTA != "" {
		text = excerpt(r.RemoteMTA) + " said: " + text
	}
	return sdk.Permanent(errors.New(text), sdk.Code(code), sdk.ProviderCode(answer.providerCode()), sdk.Blame(fault))
}

// smtpAnswer is how a diagnostic of the type smtp begins: "550 5.1.1 …" or "550-5.1.1 …".
var smtpAnswer = regexp.MustCompile(`^([245]\d\d)(?:[ -]+([245]\.\d{1,3}\.\d{1,3})\b)?`)

// smtpCode reads the codes of a diagnostic. Where it has no enhanced one, the status of the report is it.
func smtpCode(diagnostic, status string) (code int, enhanced string) {
	parts := smtpAnswer.FindStringSubmatch(diagnostic)
	if parts == nil {
		return 0, status
	}
	code, _ = strconv.Atoi(parts[1]) // three digits
	return code, orElse(parts[2], status)
}

// bounceCode names the reason by the enhanced code (RFC 3463) of the server that gave up.
func bounceCode(r reply) (code string, fault sdk.Fault) {
	switch {
	case r.about(".2.2"):
		return codeMailboxFull, sdk.FaultMessage
	case r.about(".3.4", ".2.3") || r.code == 552:
		return codeTooLarge, sdk.FaultMessage
	case r.about(".1.7", ".1.8"):
		return codeSenderRejected, sdk.FaultConfig
	case r.about(".1.", ".2."):
		return codeInvalidRecipient, sdk.FaultMessage
	case r.about(".6.", ".7."):
		return codeContentRejected, sdk.FaultMessage
	case r.about(".4."):
		return codeUnreachable, sdk.FaultMessage
	case r.says("user unknown", "unknown user", "no such user", "does not exist", "mailbox unavailable"):
		return codeInvalidRecipient, sdk.FaultMessage
	default:
		return codeUndelivered, sdk.FaultMessage
	}
}

// maxExcerpt bounds what an error quotes of a report, in bytes.
const maxExcerpt = 300

// excerpt is the beginning of a text on one line.
func excerpt(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if len(s) <= maxExcerpt {
		return s
	}
	return strings.ToValidUTF8(s[:maxExcerpt], "") + "…"
}

// complaint turns a feedback report into events. The mail did arrive, and so says the receipt, with the complaint as its
// error; that the user wants no more mails comes as a message, where the caller will look for it. Who he is the report does not
// say for sure: whoever got one mail could name somebody else. The mail that it is about tells.
func (id *identity) complaint(r *report.Report, of reported) sdk.Events {
	f := r.Feedback
	if f.Type == "not-spam" { // the user took it out of the spam folder
		return sdk.Events{}
	}
	at := f.At
	if at.IsZero() {
		at = r.At
	}
	reason := errors.New("the recipient complained: " + excerpt(f.Type))
	attributes := map[string]string{attributeEvent: eventComplaint, "feedback_type": excerpt(f.Type)}
	for name, value := range map[string]string{
		"attempt_id": of.attemptID, "message_id": messageOf(of.attemptID), "user_agent": excerpt(f.UserAgent), "source_ip": excerpt(f.SourceIP),
	} {
		if value != "" {
			attributes[name] = value
		}
	}
	return sdk.Events{
		Receipts: []sdk.DeliveryReceipt{{
			DedupeKey: "complaint/" + of.key, ProviderID: of.providerID, AttemptID: of.attemptID, Status: sdk.Delivered,
			Err: sdk.Permanent(reason, sdk.Code(codeComplaint)), At: at,
		}},
		Inbound: []sdk.Inbound{{
			DedupeKey: "complaint/" + of.key, ProviderID: of.providerID, ReplyToProviderID: of.providerID, To: id.from.Address,
			Text: eventComplaint, At: at, Attributes: attributes,
		}},
	}
}

// messageOf is the gateway's id of the message that an attempt is of; empty if it is no attempt of the gateway's.
func messageOf(attemptID string) string {
	if !gatewayAttempt.MatchString(attemptID) {
		return ""
	}
	id, _, _ := strings.Cut(attemptID, ".")
	return id
}
