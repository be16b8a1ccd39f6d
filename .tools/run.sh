#!/bin/sh
# The embedded default with the sandbox beside it, for trying out: starts both, prints what to paste,
# ends both on Ctrl-C. `make run` builds what this needs.
set -eu

data=${PIGEONRY_DATA_DIR:-./data}
mkdir -p "$data"
keyfile=$data/bootstrap.key
if [ ! -s "$keyfile" ]; then
  (umask 077 && printf 'pgn_live_%s\n' "$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')" >"$keyfile")
fi
PIGEONRY_BOOTSTRAP_KEY=${PIGEONRY_BOOTSTRAP_KEY:-$(cat "$keyfile")}
PIGEONRY_DATA_DIR=$data
PIGEONRY_LISTEN=${PIGEONRY_LISTEN:-127.0.0.1:8080}
export PIGEONRY_BOOTSTRAP_KEY PIGEONRY_DATA_DIR PIGEONRY_LISTEN

sandbox='' gateway=''
finish() {
  trap - EXIT INT TERM HUP
  # The gateway first: what it still has in flight is delivered to the sandbox.
  for pid in $gateway $sandbox; do
    kill -TERM "$pid" 2>/dev/null || continue
    wait "$pid" 2>/dev/null || true
  done
}
trap finish EXIT
trap 'finish; exit 0' INT TERM HUP

# Process groups of their own: Ctrl-C reaches this script alone, which then ends them in order.
set -m 2>/dev/null || true
bin/pigeonry-sandbox </dev/null >"$data/sandbox.log" 2>&1 &
sandbox=$!
bin/pigeonry serve -c gateway.hcl </dev/null >"$data/gateway.log" 2>&1 &
gateway=$!
set +m 2>/dev/null || true

url=http://$PIGEONRY_LISTEN
if ! bin/pigeonry ready --url "$url" --timeout 30s >/dev/null 2>"$data/ready.log"; then
  echo "The gateway did not become ready. $(cat "$data/ready.log")" >&2
  for log in gateway sandbox; do
    printf '\nThe last lines of %s:\n' "$data/$log.log" >&2
    tail -n 15 "$data/$log.log" >&2
  done
  exit 1
fi

cat <<TEXT

  Pigeonry is at $url (API documentation: $url/docs).
  The sandbox stands for the providers: http://127.0.0.1:8025 shows what arrived.

  API key: $PIGEONRY_BOOTSTRAP_KEY

  Send an e-mail and a text message:

curl -s $url/api/messages/send -H 'Authorization: Bearer $PIGEONRY_BOOTSTRAP_KEY' -H 'Content-Type: application/json' -d '{"channel":"email","recipient":"ada@example.com","subject":"Hello","content":"The first message."}'

curl -s $url/api/messages/send -H 'Authorization: Bearer $PIGEONRY_BOOTSTRAP_KEY' -H 'Content-Type: application/json' -d '{"channel":"sms","recipient":"+8613800138000","content":"The first message."}'

  Look at the path of one: $url/api/messages/traces/<trace_id>, or bin/pigeonry trace <trace_id>
  Logs: $data/gateway.log and $data/sandbox.log. Ctrl-C ends both.

TEXT
wait "$gateway" || { echo "The gateway ended; see $data/gateway.log" >&2; exit 1; }
