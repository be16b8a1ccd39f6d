// Package client calls the API of a gateway. It is generated from the contract, ../openapi.yaml, and
// imports nothing of the gateway.
//
//	c, err := client.NewClientWithResponses("http://127.0.0.1:8080", client.WithKey("pgn_live_…"))
//	answer, err := c.SendMessageWithResponse(ctx, nil, client.SendRequest{Channel: "sms", …})
package client
