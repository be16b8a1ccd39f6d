# A gateway on PostgreSQL, RabbitMQ and Redis. All gateways of an installation have this file; what differs between them
# comes from the environment: PIGEONRY_LISTEN, PIGEONRY_ROLES, PIGEONRY_DATA_DIR.
#
#     bin/pigeonry config check -c examples/production/gateway.hcl

listen     = "0.0.0.0:8080"
public_url = "https://messages.example.com"
data_dir   = "/var/lib/pigeonry" # sockets of the plugins; nothing that must outlive the machine

store "postgres" {
  url = env("PIGEONRY_POSTGRES_URL") # postgres://user:password@host:5432/pigeonry?sslmode=verify-full&pool_max_conns=32
}

queue "rabbitmq" {
  url  = env("PIGEONRY_RABBITMQ_URL") # amqps://user:password@host:5671/pigeonry
  type = "quorum"                     # or "classic", for a broker that stands alone
  # prefix = "staging"                # before every name, for several installations on one vhost
}

coordination "redis" {
  url = env("PIGEONRY_REDIS_URL") # rediss://user:password@host:6379/0
  # prefix = "staging"
}

plugins {
  dir = "/opt/pigeonry/plugins"
}

pool "message_sender" {
  core_size = 20
  max_size  = 200
}

retention {
  messages = "90d" # 0: for ever
  traces   = "7d"
}
