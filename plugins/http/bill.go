package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

var (
	currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)
	decimal      = regexp.MustCompile(`^-?\d{1,12}(\.\d{1,12})?$`)
)

// bill reads what the provider charges from its answer.
type bill struct {
	segments, cost, currency path
	code                     string // of the currency, where it is always the same
}

func compileBill(a *answerConfig) (bill, error) {
	var faults problems
	b := bill{segments: faults.path("answer.segments", a.Segments), cost: faults.path("answer.cost", a.Cost)}
	if currencyCode.MatchString(a.Currency) {
		b.code = a.Currency
	} else {
		b.currency = faults.path("answer.currency", a.Currency)
	}
	if (a.Cost == "") != (a.Currency == "") {
		faults.add("answer.currency", "goes with cost, and cost needs it", "give its code, e.g. EUR, or its path; or leave both out")
	}
	return b, faults.err()
}

// read returns a receipt without ids. What is no number is left out: an odd bill makes no message fail.
func (b *bill) read(fields any) sdk.Receipt {
	var r sdk.Receipt
	if n, err := strconv.ParseInt(b.segments.optional(fields), 10, 32); err == nil && n > 0 {
		r.Segments = int(n)
	}
	currency := orElse(b.code, b.currency.optional(fields))
	if amount := b.cost.optional(fields); decimal.MatchString(amount) && currencyCode.MatchString(strings.ToUpper(currency)) {
		// Some providers write a debit with a minus.
		r.Cost = sdk.Cost{Amount: strings.TrimPrefix(amount, "-"), Currency: strings.ToUpper(currency)}
	}
	return r
}
