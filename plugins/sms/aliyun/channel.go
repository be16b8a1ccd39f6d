package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/batch"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Bounds of what is asked of the provider.
const (
	// maxBatchBytes bounds the JSON in one request, which is three times as long in the form when it is Chinese.
	maxBatchBytes = 64 << 10
	// maxOutID is the longest OutId, in octets.
	maxOutID = 255
)

// Channel sends through one account of the provider.
type Channel struct {
	config Config
	now    func() time.Time
	lost   lost
}

// Open makes a Channel of a config that is valid.
func Open(c Config) *Channel { return &Channel{config: c, now: time.Now} }

// Send sends one message. The SDK calls SendBatch.
func (c *Channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	return batch.One(ctx, c, m)
}

// SendBatch sends messages of the same template and signature together. report is called from several goroutines.
func (c *Channel) SendBatch(ctx context.Context, ms []*sdk.Message, report func(i int, r sdk.Receipt, err error)) {
	batch.Send(ctx, batch.Provider[item]{Compose: c.compose, Groups: c.groups, Request: c.request}, ms, report)
}

// groups cuts items into what fits one request: one template, one signature, and no recipient twice, as the provider
// tells the messages of a request apart by their recipients.
func (c *Channel) groups(items []item) [][]item {
	type key struct {
		template, sign string
		extended       bool
	}
	type group struct {
		at    int // in out
		bytes int
		has   map[string]bool
	}
	var out [][]item
	open := map[key]*group{}
	for _, it := range items {
		k := key{it.template, it.sign, it.extend != ""}
		size := len(it.phone) + len(it.sign) + len(it.parameters) + len(it.extend) + 12
		g := open[k]
		if g == nil || g.has[it.phone] || len(out[g.at]) == c.config.MaxBatch || g.bytes+size > maxBatchBytes {
			g = &group{at: len(out), has: map[string]bool{}}
			open[k] = g
			out = append(out, nil)
		}
		out[g.at] = append(out[g.at], it)
		g.bytes += size
		g.has[it.phone] = true
	}
	return out
}

// request sends a group. The provider takes or refuses it whole.
func (c *Channel) request(ctx context.Context, group []item, report batch.Report) error {
	action, query, form := "SendSms", single(group[0]), map[string]string(nil)
	if len(group) > 1 {
		var err error
		action = "SendBatchSms"
		if query, form, err = several(group); err != nil {
			return sdk.Permanent(err, sdk.Blame(sdk.FaultPlugin))
		}
	}
	a, err := c.call(ctx, action, query, form)
	if err == nil && a.BizID == "" {
		err = sdk.Uncertain(errors.New("the answer says OK without a BizId"), sdk.Code(verdict.NoResponse))
	}
	if err != nil {
		if sdk.OutcomeOf(err) == sdk.OutcomeUncertain && len(group) > 1 {
			c.lost.remember(query["OutId"], group)
		}
		return err
	}
	for _, it := range group {
		report(it.index, sdk.Receipt{ProviderIDs: []string{providerID(a.BizID, it.phone)}, Segments: it.segments}, nil)
	}
	return nil
}

// single are the parameters of SendSms.
func single(it item) map[string]string {
	parameters := map[string]string{
		"PhoneNumbers": it.phone, "SignName": it.sign, "TemplateCode": it.template,
		"TemplateParam": string(it.parameters), "OutId": reference.Of([]string{it.attempt}, maxOutID),
	}
	if it.extend != "" {
		parameters["SmsUpExtendCode"] = it.extend
	}
	return parameters
}

// several are the parameters of SendBatchSms: arrays with a place for each message, which travel in the body as they are too
// long for a URL.
func several(group []item) (query, form map[string]string, err error) {
	var phones, signs, extends, attempts []string
	var all []json.RawMessage
	for _, it := range group {
		phones, signs, all = append(phones, it.phone), append(signs, it.sign), append(all, it.parameters)
		attempts = append(attempts, it.attempt)
		if it.extend != "" {
			extends = append(extends, it.extend)
		}
	}
	query = map[string]string{"TemplateCode": group[0].template, "OutId": reference.Of(attempts, maxOutID)}
	form = map[string]string{}
	for name, list := range map[string]any{
		"PhoneNumberJson": phones, "SignNameJson": signs, "TemplateParamJson": all, "SmsUpExtendCodeJson": extends,
	} {
		if name == "SmsUpExtendCodeJson" && len(extends) == 0 {
			continue
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, nil, fmt.Errorf("write %s: %w", name, err)
		}
		form[name] = string(text)
	}
	return query, form, nil
}

// providerID names one message: a BizId stands for all of a request.
func providerID(bizID, phone string) string { return bizID + "/" + phone }

// Check asks for the messages of a number that has none, which needs the same permissions as Query.
func (c *Channel) Check(ctx context.Context) error {
	_, err := c.details(ctx, "13000000000", "", c.now(), 1)
	return err
}
