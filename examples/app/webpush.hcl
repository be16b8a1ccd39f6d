# Web Push: browsers, without an account at anybody. The recipient of a message is what the browser's PushSubscription.toJSON()
# returns, as text.
#
#     VAPID_PRIVATE_KEY=… bin/pigeonry config check -c examples/app/webpush.hcl
#
# The key pair is made once, by npx web-push generate-vapid-keys; the site subscribes with the public one.
#
# With bin/pigeonry-sandbox: set private = true, leave hosts out, take VAPID_PRIVATE_KEY=2Nbd38wxhXuvcWrcMADky6XnHEi3g7zn9-W5I8-SsWg,
# and for a browser called ann the recipient that http://127.0.0.1:8025/webpush/subscriptions/ann returns.

plugins {
  dir = "./bin/plugins"
}

connector "app" "web" {
  plugin = "app"

  config {
    webpush {
      private_key = env("VAPID_PRIVATE_KEY")
      subject     = "mailto:ops@example.com"

      # The push services of the browsers that the site supports.
      hosts = [
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        "web.push.apple.com",
        "*.notify.windows.com",
      ]
    }
  }
}
