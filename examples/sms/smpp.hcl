# An SMS center over SMPP 3.4, two binds over TLS.
#
#     SMPP_PASSWORD=… bin/pigeonry config check -c examples/sms/smpp.hcl
#
# Against the sandbox: host = "127.0.0.1", port = 2775, and without tls; any user and password.

plugins {
  dir = "./bin/plugins"
}

connector "sms" "carrier" {
  plugin = "sms"
  rate   = 100 # messages a second, as the provider allows

  config {
    host         = "smpp.example.com"
    port         = 3550
    tls          = "tls"
    system_id    = "shop"
    password     = env("SMPP_PASSWORD")
    source       = "Shop"
    binds        = 2
    window       = 20
    receipt_zone = "Asia/Shanghai"
    receipt_id   = "hex_to_dec"
    validity     = true
  }
}
