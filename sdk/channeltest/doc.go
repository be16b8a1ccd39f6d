// Package channeltest is the conformance kit for channel plugins: whoever passes it works with the
// gateway, whatever language it is written in.
//
// A test of a Go plugin runs it in process and as the binary that ships:
//
//	func TestChannel(t *testing.T) {
//		channeltest.Run(t, channeltest.Suite{
//			Plugin:    channeltest.InProcess(plugin()),
//			Config:    map[string]any{"url": provider.URL, "token": "s3cret-token"},
//			Recipient: "somebody",
//		})
//	}
//
// Binary in place of Plugin starts an executable through hashicorp/go-plugin. Cases that need the
// plugin's help (a message that makes it slow, or panic) are skipped, by name, when the Suite does
// not say how. The cases are plain functions, see Cases: "pigeonry plugin test" runs them as well. For
// each of them there is a plugin in testdata that fails there and nowhere else.
package channeltest
