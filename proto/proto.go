// Package proto holds the plugin contract as text, for those who serve it in a language for which there is no SDK.
package proto

import _ "embed" // the contract

// Channel is channel/v1/channel.proto.
//
//go:embed channel/v1/channel.proto
var Channel []byte
