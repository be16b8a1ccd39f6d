# Mails whose bounces and complaints come back as receipts: from a mailbox over IMAP, and from a mail server that posts them.
#
#     SMTP_PASSWORD=… BOUNCE_SECRET="$(openssl rand -hex 32)" BOUNCE_TOKEN="$(openssl rand -hex 32)" IMAP_PASSWORD=… \
#         bin/pigeonry config check -c examples/email/bounces.hcl
#
# A Postfix that takes the mail for bounces.example.com hands it on by a transport of master.cf, with the line
# bounce-hook_destination_recipient_limit = 1 in main.cf:
#
#     bounce-hook unix - n n - 4 pipe flags=DRhu user=nobody
#       argv=/bin/sh -c {head -c 200000 | curl -sf --data-binary @- "https://messages.example.com/callbacks/email/main/bounce?token=…" || exit 75}
#
# With bin/pigeonry-sandbox: set host = "127.0.0.1", port = 1025 and tls = "none", leave username, password and mailbox out, and
# tell it where the gateway is. Its fault "undelivered" then makes bounces:
#
#     curl -X PUT http://127.0.0.1:8025/api/providers/email \
#         -d "{\"bounce_url\": \"http://127.0.0.1:8080/callbacks/email/main/bounce\", \"bounce_token\": \"$BOUNCE_TOKEN\"}"
#     curl -X PUT http://127.0.0.1:8025/api/faults -d '{"channel": "email", "undelivered": 0.1}'

public_url = "https://messages.example.com"

plugins {
  dir = "./bin/plugins"
}

connector "email" "main" {
  plugin = "email"

  config {
    host     = "smtp.example.com"
    port     = 587
    tls      = "starttls"
    username = "shop"
    password = env("SMTP_PASSWORD")
    from     = "Shop <news@example.com>"

    # Each mail has a return path of its own, so that every bounce finds its attempt.
    bounce_address = "bounce+{attempt}@bounces.example.com"
    bounce_secret  = env("BOUNCE_SECRET")
    bounce_token   = env("BOUNCE_TOKEN")

    # Ask the server for notifications that name the attempt; "success" also tells of mails that arrived.
    dsn = "failure"

    mailbox {
      host     = "imap.example.com"
      username = "bounce@bounces.example.com"
      password = env("IMAP_PASSWORD")
      move_to  = "Done"
    }
  }
}
