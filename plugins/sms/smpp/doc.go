// Package smpp speaks SMPP 3.4, the protocol between an SMS center (SMSC) and its clients (ESME).
//
// Both ends are here and share one [Session]: a client made by [Dial] submits messages and takes
// what the SMSC delivers; a [Server] accepts binds, hands submitted messages to a handler and
// delivers receipts and inbound messages.
//
// A client:
//
//	session, err := smpp.Dial(ctx, smpp.Client{
//		Addr:    "smsc.example:2775",
//		Bind:    smpp.Bind{SystemID: "shop", Password: "secret"},
//		Deliver: func(ctx context.Context, s *smpp.Session, m *smpp.ShortMessage) smpp.Status { … },
//	})
//	id, err := session.Submit(ctx, &smpp.ShortMessage{Dest: smpp.Address{TON: 1, NPI: 1, Addr: "8613800138000"}, Message: text})
//
// A server:
//
//	server := &smpp.Server{
//		SystemID:     "sandbox",
//		Authenticate: func(ctx context.Context, b smpp.Bind) smpp.Status { … },
//		Submit:       func(ctx context.Context, s *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) { … },
//	}
//	err := server.Serve(listener)    // until server.Shutdown(ctx)
//	err := session.Deliver(ctx, m)   // a receipt or an inbound message; nil once the client took it
//
// Requests in one direction are limited by a window; answers are matched by sequence number. What
// went wrong with a request is told by its error: [ErrNotSent] (no octet left this process),
// [ErrNoResponse] (it may have been taken) or a [StatusError] (the peer refused it).
//
// The codec, [PDU] and [Reader], is bounded: no length field of a peer makes it allocate more than
// the bytes that the peer may send at once. Sections named in comments are those of "Short Message
// Peer to Peer Protocol Specification v3.4, 12-Oct-1999 Issue 1.2".
package smpp
