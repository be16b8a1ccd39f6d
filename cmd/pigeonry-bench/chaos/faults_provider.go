package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// provider makes a fault of both providers.
func (s *stage) provider(name string, hold time.Duration, f sandbox.Fault) Fault {
	return Fault{
		Name: "provider-" + name, Target: "provider", Limit: brokerLimit, Hold: hold,
		Inject: func(context.Context) error {
			var errs []error
			for _, channel := range []string{sandbox.ChannelEmail, sandbox.ChannelSMS} {
				f.Channel = channel
				errs = append(errs, s.sandbox.SetFault(f))
			}
			return errors.Join(errs...)
		},
		Heal: s.behave,
	}
}

// behave ends all faults of the providers.
func (s *stage) behave(context.Context) error {
	s.sandbox.ClearFaults()
	return nil
}

// providerFaults are answers that a gateway must expect. What a provider takes without saying so makes doubles, which
// the gateway cannot help; it happens to a few messages only.
func (s *stage) providerFaults() []Fault {
	hold := s.brief(10*time.Second, 3*time.Second)
	return []Fault{
		s.provider("429", hold, sandbox.Fault{Throttle: 20}),
		s.provider("500", hold, sandbox.Fault{ErrorRate: 0.5}),
		s.provider("timeout", hold, sandbox.Fault{LatencyMS: 7000}),
		s.provider("drop", hold, sandbox.Fault{AcceptThenDrop: 0.2}),
		s.provider("unanswered", hold, sandbox.Fault{Unanswered: 0.01}),
	}
}

// receiptFaults are receipts that do not come as they should.
func (s *stage) receiptFaults() []Fault {
	receipts := func(name string, f sandbox.Fault) Fault {
		f.Channel = sandbox.ChannelSMS
		return Fault{
			Name: "receipts-" + name, Target: "provider", Limit: gatewayLimit, Hold: s.brief(10*time.Second, 3*time.Second),
			Inject: func(context.Context) error { return s.sandbox.SetFault(f) }, Heal: s.behave,
		}
	}
	return []Fault{
		receipts("doubled", sandbox.Fault{ReceiptDoubled: 0.5}),
		receipts("early", sandbox.Fault{ReceiptEarly: 0.5}),
		receipts("disordered", sandbox.Fault{ReceiptDisordered: 0.5, Undelivered: 0.2}),
		s.forger(receipts("forged", sandbox.Fault{ReceiptForged: 0.5})),
	}
}

// forger adds somebody who calls the gateway's own addresses for callbacks with receipts that he made up. None may be
// taken.
func (s *stage) forger(f Fault) Fault {
	var working sync.WaitGroup
	var taken []string
	var over chan struct{}
	inject, heal := f.Inject, f.Heal
	f.Inject = func(ctx context.Context) error {
		taken, over = nil, make(chan struct{})
		working.Go(func() {
			for !isClosed(over) && sleep(ctx, 50*time.Millisecond, over) == nil {
				if what := s.forge(ctx); what != "" {
					taken = append(taken, what)
				}
			}
		})
		return inject(ctx)
	}
	f.Heal = func(ctx context.Context) error {
		close(over)
		working.Wait()
		err := heal(ctx)
		if len(taken) > 0 {
			err = errors.Join(err, broken{fmt.Sprintf("%d forged receipts were taken: %s", len(taken), taken[0])})
		}
		return err
	}
	return f
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// forge calls once and returns what was taken, "" for nothing.
func (s *stage) forge(ctx context.Context) string {
	for _, path := range []string{"/callbacks/sms/main", "/callbacks/email/main", "/callbacks/sms/other"} {
		url := "http://" + s.addresses()[0] + path
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(
			`{"id":"1","status":"UNDELIV","stat":"UNDELIV"}`))
		if err != nil {
			return err.Error()
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode < http.StatusBadRequest {
			return path + " answered " + response.Status
		}
	}
	return ""
}
