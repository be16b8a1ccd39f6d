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
case $PIGEONRY_LISTEN in # a gateway that listens everywhere is asked here
:* | 0.0.0.0:* | '[::]':*) url=http://127.0.0.1:${PIGEONRY_LISTEN##*:} ;;
*) url=http://$PIGEONRY_LISTEN ;;
esac

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

# await <pid> <command...> asks until the command succeeds, at most 30 s and while the process lives.
await() {
  awaited=$1 tries=0
  shift
  until "$@"; do
    tries=$((tries + 1))
    kill -0 "$awaited" 2>/dev/null && [ "$tries" -lt 300 ] || return 1
    sleep 0.1
  done
  kill -0 "$awaited" 2>/dev/null
}

# give_up <name> says what a program said last.
give_up() {
  printf 'The %s did not start. Its last lines, of %s:\n\n' "$1" "$data/$1.log" >&2
  tail -n 15 "$data/$1.log" >&2
  exit 1
}

ready() { bin/pigeonry ready --url "$url" --timeout 1s >/dev/null 2>&1; }

if ready; then
  echo "A gateway runs at $url already. End it, or give this one another address: PIGEONRY_LISTEN=127.0.0.1:8081 make run" >&2
  exit 1
fi

# Process groups of their own (set -m): Ctrl-C reaches this script alone, which then ends them in order.
set -m 2>/dev/null || true
bin/pigeonry-sandbox -print-addresses </dev/null >"$data/sandbox.addresses" 2>"$data/sandbox.log" &
sandbox=$!
set +m 2>/dev/null || true
await "$sandbox" test -s "$data/sandbox.addresses" || give_up sandbox

set -m 2>/dev/null || true
bin/pigeonry serve -c gateway.hcl </dev/null >"$data/gateway.log" 2>&1 &
gateway=$!
set +m 2>/dev/null || true
await "$gateway" ready || give_up gateway

cat <<TEXT

  Pigeonry is at $url, its API is documented at $url/docs.
  The sandbox plays the providers: http://127.0.0.1:8025 shows what arrived.

  Paste into another terminal, to send an e-mail and a text message:

curl -sS -w '\n' $url/api/messages/send -H 'Authorization: Bearer $PIGEONRY_BOOTSTRAP_KEY' -H 'Content-Type: application/json' -d '{"channel":"email","recipient":"ada@example.com","subject":"Hello","content":"The first message."}'

curl -sS -w '\n' $url/api/messages/send -H 'Authorization: Bearer $PIGEONRY_BOOTSTRAP_KEY' -H 'Content-Type: application/json' -d '{"channel":"sms","recipient":"+8613800138000","content":"The first message."}'

  The path of a message, by the trace_id of its answer:

bin/pigeonry trace --url $url --key $PIGEONRY_BOOTSTRAP_KEY <trace_id>

  The key stays in $keyfile, the logs in $data/gateway.log and $data/sandbox.log. Ctrl-C ends both programs.

TEXT
wait "$gateway" || { echo "The gateway ended; see $data/gateway.log" >&2; exit 1; }
