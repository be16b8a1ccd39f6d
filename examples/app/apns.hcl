# The Apple Push Notification service: apps on iOS, iPadOS, macOS, watchOS and tvOS. The recipient of a message is a device token, in
# hexadecimal.
#
#     APNS_KEY="$(cat AuthKey_ABCDE12345.p8)" bin/pigeonry config check -c examples/app/apns.hcl
#
# The key comes from the Apple developer account: Certificates, Identifiers & Profiles, Keys. It may be given as
# file("AuthKey_ABCDE12345.p8"), too.
#
# With bin/pigeonry-sandbox: set base_url = "http://127.0.0.1:8025", key_id = "SANDBOXKEY", team_id = "SANDBOXTEA" and
# topic = "com.example.sandbox", and take cmd/pigeonry-sandbox/sandbox/apns/AuthKey_SANDBOXKEY.p8.

plugins {
  dir = "./bin/plugins"
}

connector "app" "ios" {
  plugin = "app"

  config {
    apns {
      private_key = env("APNS_KEY")
      key_id      = "ABCDE12345"
      team_id     = "FGHIJ67890"
      topic       = "com.example.shop"
      base_url    = "https://api.push.apple.com" # https://api.sandbox.push.apple.com for apps that Xcode has installed
    }
  }
}
