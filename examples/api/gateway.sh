# What the scripts of this folder share. They read it; it does nothing by itself.
#
# PIGEONRY_URL is the gateway, PIGEONRY_API_KEY the key. Without them: the gateway of `make run` and its key.

url=${PIGEONRY_URL:-http://127.0.0.1:8080}
keyfile=../../data/bootstrap.key
if [ -z "${PIGEONRY_API_KEY:-}" ] && [ ! -r "$keyfile" ]; then
  echo "no API key: start the gateway with make run, or set PIGEONRY_API_KEY" >&2
  exit 1
fi
key=${PIGEONRY_API_KEY:-$(cat "$keyfile")}

# call <method> <path> [curl options] prints the answer, also one that says what is wrong.
call() {
  method=$1 path=$2
  shift 2
  curl -sS -w '\n' -X "$method" "$url$path" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"
}

# field <name> <answer> takes one number or text from an answer. Where jq is at hand, it does this better.
field() { printf '%s' "$2" | sed -n 's/.*"'"$1"'":"\{0,1\}\([A-Za-z0-9_]*\).*/\1/p'; }

# later <seconds> is a time from now on, as the API reads it. GNU and BSD differ.
later() {
  date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -v "+$1S" +%Y-%m-%dT%H:%M:%SZ
}
