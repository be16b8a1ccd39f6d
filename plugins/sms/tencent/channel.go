package tencent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/batch"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// maxSession is the longest SessionContext, in octets.
const maxSession = 511

// Channel sends through one application of the provider. It has no state beyond its config.
type Channel struct {
	config Config
	now    func() time.Time
}

// Open makes a Channel of a config that is valid.
func Open(c Config) *Channel { return &Channel{config: c, now: time.Now} }

// Send sends one message. The SDK calls SendBatch.
func (c *Channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	return batch.One(ctx, c, m)
}

// SendBatch sends messages that say the same together. report is called from several goroutines.
func (c *Channel) SendBatch(ctx context.Context, ms []*sdk.Message, report func(i int, r sdk.Receipt, err error)) {
	batch.Send(ctx, batch.Provider[item]{Compose: c.compose, Groups: c.groups, Request: c.request}, ms, report)
}

// groups cuts items into what fits one request: the same content, and no recipient twice, as the answer tells the
// messages of a request apart by their recipients.
func (c *Channel) groups(items []item) [][]item {
	type group struct {
		at  int // in out
		has map[string]bool
	}
	var out [][]item
	open := map[string]*group{}
	for _, it := range items {
		key := it.content.key()
		g := open[key]
		if g == nil || g.has[it.phone] || len(out[g.at]) == c.config.MaxBatch {
			g = &group{at: len(out), has: map[string]bool{}}
			open[key] = g
			out = append(out, nil)
		}
		out[g.at] = append(out[g.at], it)
		g.has[it.phone] = true
	}
	return out
}

// request sends a group, of which each message has a result of its own.
func (c *Channel) request(ctx context.Context, group []item, report batch.Report) error {
	a, err := c.call(ctx, "SendSms", sendRequest(c.config.AppID, group))
	if err != nil {
		return err
	}
	statuses := make(map[string]sendStatus, len(group))
	for _, s := range a.SendStatusSet {
		statuses[s.PhoneNumber] = s
	}
	for _, it := range group {
		s, ok := statuses[it.phone]
		switch {
		case !ok:
			report(it.index, sdk.Receipt{}, sdk.Uncertain(errors.New("the answer does not mention the message"), sdk.Code(verdict.NoResponse)))
		case s.Code != "Ok":
			report(it.index, sdk.Receipt{}, outcome(s.Code, fmt.Errorf("refused: %s (request %s)", s.Message, a.RequestID)))
		default:
			report(it.index, sdk.Receipt{ProviderIDs: ids(s.SerialNo), Segments: s.Fee}, nil)
		}
	}
	return nil
}

func ids(serial string) []string {
	if serial == "" {
		return nil
	}
	return []string{serial}
}

// sendSms are the parameters of SendSms.
type sendSms struct {
	PhoneNumberSet   []string
	SmsSdkAppID      string `json:"SmsSdkAppId"`
	TemplateID       string `json:"TemplateId"`
	SignName         string `json:",omitempty"`
	TemplateParamSet []string
	ExtendCode       string `json:",omitempty"`
	SessionContext   string
	SenderID         string `json:"SenderId,omitempty"`
}

func sendRequest(appID string, group []item) sendSms {
	shared := group[0].content
	r := sendSms{
		SmsSdkAppID: appID, TemplateID: shared.template, SignName: shared.sign,
		TemplateParamSet: append([]string{}, shared.parameters...), ExtendCode: shared.extend,
	}
	if !shared.mainland {
		r.SenderID = shared.sender
	}
	var attempts []string
	for _, it := range group {
		r.PhoneNumberSet = append(r.PhoneNumberSet, it.phone)
		attempts = append(attempts, it.attempt)
	}
	r.SessionContext = reference.Of(attempts, maxSession)
	return r
}

// Check asks for the messages of a number that has none, which needs the same permissions as Query.
func (c *Channel) Check(ctx context.Context) error {
	_, err := c.pull(ctx, "+8613000000000", c.now())
	return err
}
