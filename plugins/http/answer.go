package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of this plugin, beside those of the SDK.
const (
	codeInvalidMessage = "invalid_message"    // the request cannot be made of this message; not sent
	codeNoAttachments  = "attachments_unused" // the config has no place for attachments; not sent
	codeUnreadable     = "unreadable_answer"  // the status says accepted, the answer says nothing
	codeProvider       = "provider_error"     // the provider's code is not in answer.results
	codeUndelivered    = "undelivered"        // in a receipt
)

// excerptBytes is how much of an answer becomes the text of an error.
const excerptBytes = 300

// answer is what the provider said.
type answer struct {
	status    int
	title     string // such as "404 Not Found"
	header    http.Header
	body      []byte
	truncated bool // there was more
}

// reader makes an outcome of an answer: the status says it, unless the provider's code knows better.
type reader struct {
	statuses statuses
	decoder  *decoder // nil: the body is not read
	results  []result

	id, code, message, retryAfter path
	hasCode                       bool
	bill                          bill
}

// result is what some codes mean.
type result struct {
	codes   []string
	outcome sdk.Outcome
	options []sdk.Option
	after   time.Duration
}

var (
	outcomes = map[string]sdk.Outcome{
		"accepted": sdk.OutcomeAccepted, "rejected": sdk.OutcomeRejected, "retryable": sdk.OutcomeRetryable,
		"throttled": sdk.OutcomeThrottled, "uncertain": sdk.OutcomeUncertain,
	}
	blames = map[string]sdk.Fault{
		"message": sdk.FaultMessage, "provider": sdk.FaultProvider, "config": sdk.FaultConfig,
	}
	stableCode = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// compileReader reads status and answer.
func compileReader(c *config) (*reader, error) {
	var faults problems
	r := &reader{}
	var err error
	r.statuses, err = compileStatuses(c.Status)
	faults.note(err)
	if c.Answer == nil {
		return r, faults.err()
	}
	a := c.Answer
	d, err := compileDecoder("answer", a.Format, a.Pattern)
	faults.note(err)
	r.decoder, r.hasCode = &d, a.Code != ""
	r.id = faults.path("answer.id", a.ID)
	r.code = faults.path("answer.code", a.Code)
	r.message = faults.path("answer.message", a.Message)
	r.retryAfter = faults.path("answer.retry_after", a.RetryAfter)
	r.bill, err = compileBill(a)
	faults.note(err)
	accepts := false
	for i := range a.Results {
		one, err := compileResult(fmt.Sprintf("answer.results[%d]", i), &a.Results[i])
		faults.note(err)
		r.results = append(r.results, one)
		accepts = accepts || one.outcome == sdk.OutcomeAccepted
	}
	switch {
	case r.hasCode && !accepts:
		faults.add("answer.results", "no code means accepted", `add the provider's code of success: { codes = ["0"], outcome = "accepted" }`)
	case !r.hasCode && len(a.Results) > 0:
		faults.add("answer.code", "is missing for results", "give the path of the provider's code, e.g. errcode")
	}
	return r, faults.err()
}

func compileResult(field string, c *resultConfig) (result, error) {
	r := result{codes: c.Codes, outcome: outcomes[c.Outcome], after: c.RetryAfter}
	if c.Code != "" {
		if !stableCode.MatchString(c.Code) {
			return r, sdk.FieldError(field+".code", fmt.Sprintf("%q is no code", c.Code), "use lower case letters, digits and _, e.g. invalid_recipient")
		}
		r.options = append(r.options, sdk.Code(c.Code))
	}
	if fault, ok := blames[c.Fault]; ok {
		r.options = append(r.options, sdk.Blame(fault))
	}
	return r, nil
}

// covers says whether a code of the provider is among those of the result. "*" covers any code that is
// there.
func (r *result) covers(code string) bool {
	for _, c := range r.codes {
		begin, open := strings.CutSuffix(c, "*")
		if c == code || open && code != "" && strings.HasPrefix(code, begin) {
			return true
		}
	}
	return false
}

func (r *reader) find(code string) *result {
	for i := range r.results {
		if r.results[i].covers(code) {
			return &r.results[i]
		}
	}
	return nil
}

// judge says what came of a message.
func (r *reader) judge(a *answer) (sdk.Receipt, error) {
	byStatus := r.statuses.outcome(a.status)
	if r.decoder == nil {
		return sdk.Receipt{}, r.refusal(a, byStatus, statusOptions(byStatus, a.status), verdict{})
	}
	fields, err := r.decode(a)
	if err != nil && byStatus == sdk.OutcomeAccepted {
		return sdk.Receipt{}, sdk.Uncertain(fmt.Errorf("provider answered %s, and the answer cannot be read: %w", a.title, err),
			sdk.Code(codeUnreadable), sdk.ProviderCode(strconv.Itoa(a.status)))
	}
	v := verdict{code: r.codeIn(fields), message: r.message.text(fields), wait: r.waitIn(fields)}
	outcome, options := byStatus, statusOptions(byStatus, a.status)
	known := r.hasCode && fields != nil
	if found := r.find(v.code); known && found != nil {
		outcome, options = found.outcome, found.options
		v.wait = max(v.wait, found.after)
	} else if r.hasCode && byStatus == sdk.OutcomeAccepted {
		outcome, options = unknownCode(v.code)
	}
	if err := r.refusal(a, outcome, options, v); err != nil {
		return sdk.Receipt{}, err
	}
	receipt := r.bill.read(fields)
	if len(r.id) > 0 {
		receipt.ProviderIDs = r.id.texts(fields)
	}
	return receipt, nil
}

// unknownCode is for a code that no result knows in an answer whose status is one of success: most
// likely a refusal. No code at all says nothing.
func unknownCode(code string) (sdk.Outcome, []sdk.Option) {
	if code == "" {
		return sdk.OutcomeUncertain, []sdk.Option{sdk.Code(codeUnreadable)}
	}
	return sdk.OutcomeRejected, []sdk.Option{sdk.Code(codeProvider), sdk.Blame(sdk.FaultProvider)}
}

// decode reads the body of an answer. An empty one has no fields, and is no fault: many a provider says
// nothing when all is well.
func (r *reader) decode(a *answer) (any, error) {
	switch {
	case a.truncated:
		return nil, errors.New("it is longer than max_answer_bytes")
	case len(bytes.TrimSpace(a.body)) == 0:
		return map[string]any{}, nil
	default:
		return r.decoder.decode(a.body)
	}
}

func (r *reader) codeIn(fields any) string {
	if !r.hasCode {
		return ""
	}
	return r.code.text(fields)
}

// waitIn reads how many seconds the answer asks to wait.
func (r *reader) waitIn(fields any) time.Duration {
	if len(r.retryAfter) == 0 {
		return 0
	}
	return seconds(r.retryAfter.text(fields))
}

// verdict is what the body of an answer says.
type verdict struct {
	code, message string
	wait          time.Duration
}

// refusal is the error for an outcome; nil when the message was accepted.
func (r *reader) refusal(a *answer, outcome sdk.Outcome, options []sdk.Option, v verdict) error {
	if outcome == sdk.OutcomeAccepted {
		return nil
	}
	text := "provider answered " + a.title
	switch {
	case v.code != "" || v.message != "":
		text += ": " + strings.Trim(v.code+" "+excerpt([]byte(v.message)), " ")
	default:
		text += ": " + orElse(excerpt(a.body), "no body")
	}
	err := errors.New(text)
	wait := max(v.wait, retryAfter(a.header, time.Now()))
	options = append([]sdk.Option{sdk.ProviderCode(orElse(v.code, strconv.Itoa(a.status)))}, options...)
	switch outcome {
	case sdk.OutcomeRejected:
		return sdk.Permanent(err, options...)
	case sdk.OutcomeRetryable:
		return sdk.Retryable(err, append(options, sdk.RetryAfter(wait))...)
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, wait, options...)
	default:
		return sdk.Uncertain(err, options...)
	}
}

// excerpt is the beginning of a body on one line.
func excerpt(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), 4*excerptBytes)]), "\uFFFD")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= excerptBytes {
		return text
	}
	return strings.ToValidUTF8(text[:excerptBytes], "") + "…"
}

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return seconds(value)
}

// maxWait bounds what a provider may ask for: a week is as good as never.
const maxWait = 7 * 24 * time.Hour

// seconds reads a number of seconds; anything else is none.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(n > 0):
		return 0
	case n > maxWait.Seconds():
		return maxWait
	default:
		return time.Duration(n * float64(time.Second))
	}
}

// judgeCheck says whether an answer to a check is a good one. It need not look like an answer to a
// message: only a code that is there counts.
func (r *reader) judgeCheck(a *answer) error {
	outcome := r.statuses.outcome(a.status)
	options, v := statusOptions(outcome, a.status), verdict{}
	if r.hasCode {
		if fields, err := r.decode(a); err == nil {
			v = verdict{code: r.codeIn(fields), message: r.message.text(fields)}
		}
		if found := r.find(v.code); found != nil && v.code != "" {
			outcome, options = found.outcome, found.options
		}
	}
	return r.refusal(a, outcome, options, v)
}
