package main

import (
	"math/big"
	"strings"
)

// Where a message id comes from.
const (
	fromAnswer  = false
	fromReceipt = true
)

// canonicalID gives a message id the form in which answers and receipts agree, as config.ReceiptID
// says how they differ. Ids that are not of the base expected stay as they are.
func canonicalID(id, form string, receipt bool) string {
	id = strings.TrimSpace(id)
	switch form {
	case idLower:
		return strings.ToLower(id)
	case idHexToDec:
		if receipt {
			return convert(id, 16, 10)
		}
		return convert(id, 10, 10) // drops leading zeros
	case idDecToHex:
		if receipt {
			return convert(id, 10, 16)
		}
		return convert(id, 16, 16)
	}
	return id
}

// convert writes a number of one base in another, in lower case and without leading zeros.
func convert(id string, from, to int) string {
	n, ok := new(big.Int).SetString(id, from)
	if !ok || n.Sign() < 0 || strings.ContainsAny(id, "+_") {
		return id
	}
	return n.Text(to)
}
