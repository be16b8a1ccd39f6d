# Mails over any SMTP server, signed with DKIM, with one-click unsubscribing and the headers that mailbox providers want of
# lists.
#
#     openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out dkim-rsa.pem
#     openssl genpkey -algorithm ed25519 -out dkim-ed.pem
#     SMTP_PASSWORD=… DKIM_RSA="$(cat dkim-rsa.pem)" DKIM_ED25519="$(cat dkim-ed.pem)" UNSUBSCRIBE_SECRET="$(openssl rand -hex 32)" \
#         bin/pigeonry config check -c examples/email/smtp.hcl
#
# What to write into the name server: plugins/email/README.md, "DKIM".

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

    max_connections = 20

    # Two signatures: RSA for everybody, Ed25519 for those who read it. The domain is the sender's.
    dkim = [
      { selector = "rsa2026", key = env("DKIM_RSA") },
      { selector = "ed2026", key = env("DKIM_ED25519") },
    ]

    list_id     = "Shop news <news.example.com>"
    feedback_id = "news:shop"

    # The link leads to public_url/callbacks/email/main/unsubscribe. A mail that nobody can unsubscribe from, such as one with
    # a password, is sent with the attribute unsubscribe = "false".
    unsubscribe {
      secret = env("UNSUBSCRIBE_SECRET")
      mailto = "unsubscribe@example.com"
    }
  }
}
