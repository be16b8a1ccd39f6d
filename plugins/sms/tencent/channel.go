package tencent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// maxRequests is how many requests one batch of the gateway makes at a time.
	maxRequests = 16
	// maxSession is the longest SessionContext, in octets.
	maxSession = 511
)

// Channel sends through one application of the provider. It has no state beyond its config.
type Channel struct {
	config Config
	now    func() time.Time
}

// Open makes a Channel of a config that is valid.
func Open(c Config) *Channel { return &Channel{config: c, now: time.Now} }

// Send sends one message. The SDK calls SendBatch.
func (c *Channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	var err error
	c.SendBatch(ctx, []*sdk.Message{m}, func(_ int, r sdk.Receipt, e error) { receipt, err = r, e })
	return receipt, err
}

// SendBatch sends messages that say the same together. report is called from several goroutines.
func (c *Channel) SendBatch(ctx context.Context, ms []*sdk.Message, report func(i int, r sdk.Receipt, err error)) {
	var items []item
	for i, m := range ms {
		it, err := c.compose(i, m)
		if err != nil {
			report(i, sdk.Receipt{}, err)
			continue
		}
		items = append(items, it)
	}
	var requests errgroup.Group
	requests.SetLimit(maxRequests)
	for _, group := range c.groups(items) {
		requests.Go(func() error {
			c.sendGroup(ctx, group, report)
			return nil
		})
	}
	_ = requests.Wait() // each message has its own result
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

// sendGroup sends one request and reports its items. Where the provider refuses a request whole for the sake of one
// message, nothing was sent, and the halves are tried apart.
func (c *Channel) sendGroup(ctx context.Context, group []item, report func(int, sdk.Receipt, error)) {
	if err := ctx.Err(); err != nil {
		for _, it := range group {
			report(it.index, sdk.Receipt{}, sdk.Retryable(fmt.Errorf("not begun: %w", err), sdk.Code(sdk.CodeNotStarted)))
		}
		return
	}
	a, err := c.call(ctx, "SendSms", sendRequest(c.config.AppID, group))
	if len(group) > 1 && verdict.ConcernsOne(err) {
		half := len(group) / 2
		c.sendGroup(ctx, group[:half], report)
		c.sendGroup(ctx, group[half:], report)
		return
	}
	statuses := make(map[string]sendStatus, len(group))
	for _, s := range a.SendStatusSet {
		statuses[s.PhoneNumber] = s
	}
	for _, it := range group {
		s, ok := statuses[it.phone]
		switch {
		case err != nil:
			report(it.index, sdk.Receipt{}, err)
		case !ok:
			report(it.index, sdk.Receipt{}, sdk.Uncertain(errors.New("the answer does not mention the message"), sdk.Code(verdict.NoResponse)))
		case s.Code != "Ok":
			report(it.index, sdk.Receipt{}, outcome(s.Code, fmt.Errorf("refused: %s (request %s)", s.Message, a.RequestID)))
		default:
			report(it.index, sdk.Receipt{ProviderIDs: ids(s.SerialNo), Segments: s.Fee}, nil)
		}
	}
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
