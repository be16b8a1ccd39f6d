# Firebase Cloud Messaging: apps on Android, and those on iOS and in browsers that register with Firebase. The recipient of a
# message is a registration token.
#
#     FCM_SERVICE_ACCOUNT="$(cat service-account.json)" bin/pigeonry config check -c examples/app/fcm.hcl
#
# The key file comes from the Firebase console: Project settings, Service accounts, Generate new private key. It may be given as
# file("service-account.json"), too.
#
# With bin/pigeonry-sandbox: set base_url = "http://127.0.0.1:8025", and take
# cmd/pigeonry-sandbox/sandbox/fcm/service-account.json. Its token_uri leads to the sandbox.

plugins {
  dir = "./bin/plugins"
}

connector "app" "android" {
  plugin = "app"

  config {
    fcm {
      service_account = env("FCM_SERVICE_ACCOUNT")
      base_url        = "https://fcm.googleapis.com"
    }

    ttl           = "24h" # for messages without expire_at
    high_priority = 6     # from the lane high on a push wakes the phone
    rate          = 5000  # of the project's quota, 600,000 a minute unless Google says otherwise
  }
}
