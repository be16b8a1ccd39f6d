# The gateway for trying out: everything embedded, and the providers played by pigeonry-sandbox.
# `make run` starts both. Check a change with: bin/pigeonry config check -c gateway.hcl
#
# env("NAME") and file("path") keep secrets out of this file. PIGEONRY_* variables and flags override it.
# Paths are relative to the working directory.

listen   = "127.0.0.1:8080" # PIGEONRY_LISTEN, --listen
data_dir = "./data"         # PIGEONRY_DATA_DIR, --data-dir

# How providers reach this gateway from outside, for the addresses of their callbacks.
# public_url = "https://messages.example.com"

# How often a message is tried in all before it fails.
max_attempts = 5

# How long an ordered stop waits for what is being sent.
drain_timeout = "10s"

# The accounts whose keys may change plugins: roll out a version, take it back, remove it. The key in
# PIGEONRY_BOOTSTRAP_KEY, and what `pigeonry key create` makes without --account, open "default".
operators = ["default"]

# The truth, the dispatch index, and what instances share. These are the embedded technologies.
store "sqlite" {}
queue "memory" {}
coordination "local" {}

plugins {
  dir = "./bin/plugins" # <dir>/<name>/<version>/<name>; PIGEONRY_PLUGINS_DIR, --plugins-dir

  # What may also be said here. What has a value shows its default:
  #
  # store             = "./data/plugins" # the copies that are executed; a user of the sandbox must be able to enter it
  # rollout           = "manual"        # an operator begins a rollout; "automatic": the gateway, for a higher version
  # require_signature = false           # true: a plugin that none of trusted_keys has signed does not start
  # trusted_keys      = [file("keys/acme.pub")]
  # plaintext         = ["legacy"]      # plugins that may do without TLS on their private socket
  # env               = ["HTTPS_PROXY"] # variables of the gateway that plugins get; never PIGEONRY_*
  #
  # canary {                                   # how a new version takes over where its rollout says nothing else
  #   steps              = [1, 5, 25, 50, 100] # its share of the messages in percent, step by step
  #   min_samples        = 100                 # results that a step needs before it is judged by its rates
  #   window             = "30s"               # a step lasts at least this long
  #   bake               = "5m"                # the old version stays warm once the new one has everything
  #   by                 = "message"           # or "account": a tenant never sees two versions
  #   max_failure_rate   = 0.02                # how much larger its share of failures may be than the old version's
  #   max_uncertain_rate = 0.01                # the same for attempts whose end was not seen
  #   max_latency_ratio  = 2                   # how many times the old version's 99th percentile its own may be
  #   max_memory_ratio   = 2                   # how many times the old version's memory
  # }
  #
  # sandbox {                 # bounds for the process of each plugin; what is left out is not bounded
  #   user      = "pigeonry-plugin" # the gateway must be root for that
  #   memory    = "512MB"
  #   cpu       = 1.5         # cores
  #   files     = 1024        # open at a time
  #   processes = 256         # at a time, threads included
  # }
}

account {
  default_region = "CN" # how an account reads a phone number without a country code
}

# A connector is one configured use of a plugin. This one's id is email/main, its callback address
# /callbacks/email/main. What stands in config is the plugin's own: bin/plugins/email/*/email -describe
# prints all of it.
connector "email" "main" {
  plugin = "email"

  config {
    host = "127.0.0.1"
    port = 1025
    tls  = "none" # the sandbox speaks no TLS; leave it out with a real server
    from = "Pigeonry <no-reply@example.com>"
  }
}

connector "sms" "main" {
  plugin = "sms"

  config {
    host      = "127.0.0.1"
    port      = 2775
    system_id = "pigeonry"
    password  = "secret" # with a real provider: env("SMS_PASSWORD")
  }

  # What a connector may also say, with its defaults:
  #
  # weight        = 1      # share among the connectors of the channel with the same order
  # order         = 0      # failover: a higher order serves when the lower ones cannot
  # on_uncertain  = "retry" # send again, marked, when nobody knows whether it arrived; or "hold"
  # rate          = 0      # messages a second at most; 0: what the plugin suggests
  # max_in_flight = 0      # attempts at a time at most; 0: what the plugin suggests
  # timeout       = "30s"  # of one attempt
  # failover_ramp = "30s"  # once it cannot be used: until all of its messages may go to other connectors
  #
  # route {                         # takes only messages that fit all of it; none: every message of the channel
  #   accounts          = ["shop"]  # theirs is also what comes in over the connector
  #   countries         = ["CN"]    # of the recipient's number
  #   prefixes          = ["+8613"] # beginnings of the recipient
  #   templates         = [12]      # ids of templates
  #   provider_template = true      # only those that name a template of the provider's own
  # }
  #
  # retry {
  #   first_delay = "1s"
  #   max_delay   = "5m"
  # }
  #
  # shadow_config {           # goes over config while a version runs in the shadow of another, of which
  #   host = "127.0.0.1"      # nothing may be delivered; none by default
  #   port = 12775
  # }
}

# The workers that send. The pool grows when its queue is 80 % full and shrinks at 20 %. Pools and limits can
# also be changed in the database, see README.md; the last change wins.
pool "message_sender" {
  core_size            = 20
  max_size             = 100
  scale_up_threshold   = 0.8
  scale_down_threshold = 0.2
}

# How much may happen. type: "qps", "concurrent" (at a time) or "sliding_window" (with window). by says what has a
# count of its own: "account" (the default), "key", "ip" (behind a proxy all callers have the proxy's), "channel",
# "recipient" or "global". One resource may have several limits.
limit "api:/messages/send" {
  type = "qps"
  max  = 20000
}

# limit "api:/messages/send" {      # a recipient gets 5 messages an hour at most
#   type   = "sliding_window"
#   max    = 5
#   window = "1h"
#   by     = "recipient"
# }
#
# limit "channel:sms" {             # messages accepted for a channel, in batches too
#   type = "qps"
#   max  = 500
#   by   = "global"
# }
#
# limit "connector:sms/main" {      # messages handed to a connector, beside its rate
#   type = "concurrent"
#   max  = 50
# }

log {
  level  = "info" # debug, info, warn, error; PIGEONRY_LOG_LEVEL
  format = "text" # or "json"
}

retention {
  messages = "90d" # by whole days; 0: for ever
  traces   = "7d"
}
