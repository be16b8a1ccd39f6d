#!/bin/sh
# Programs of other makers that the tests talk to. On Debian as root the missing ones are installed, without
# starting any service; elsewhere they are named and their tests are left out. With CI=true a missing peer
# is a failure: then nothing may be left out. The tests fetch the npm packages that they need by themselves.
set -eu

has() {
  case $1 in
    postfix) [ -x /usr/sbin/postfix ] ;;
    dovecot-imapd) [ -x /usr/lib/dovecot/imap ] ;;
    kannel) [ -x /usr/sbin/bearerbox ] ;;
    python3-dkim) /usr/bin/python3 -c 'import dkim' 2>/dev/null ;;
    python3-nacl) /usr/bin/python3 -c 'import nacl' 2>/dev/null ;;
    python3-aiosmtpd) /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null ;;
    python3-grpcio) /usr/bin/python3 -c 'import grpc' 2>/dev/null ;;
    python3-protobuf) /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null ;;
    python3-cryptography) /usr/bin/python3 -c 'import cryptography' 2>/dev/null ;;
    nodejs) command -v node >/dev/null ;;
    npm) command -v npm >/dev/null ;;
    minisign) command -v minisign >/dev/null ;;
    openssl) command -v openssl >/dev/null ;;
    postgresql) any_executable /usr/lib/postgresql/*/bin/postgres || command -v postgres >/dev/null ;;
    redis-server) command -v redis-server >/dev/null ;;
    rabbitmq-server) any_executable /usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server || command -v rabbitmq-server >/dev/null ;;
  esac
}
any_executable() {
  for file in "$@"; do [ ! -x "$file" ] || return 0; done
  return 1
}
# Engines are run by pigeonry-bench, which looks for them in the same places.
peers='postfix dovecot-imapd kannel python3-aiosmtpd python3-dkim python3-nacl python3-grpcio python3-protobuf python3-cryptography nodejs npm minisign openssl postgresql redis-server rabbitmq-server'
missing() { for peer in $peers; do has "$peer" || printf '%s ' "$peer"; done; }

install() {
  # Debian starts what it installs unless policy-rc.d says no. Ours stands only while apt works.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
  fi
  log=$(mktemp)
  if ! {
    apt-get update -q &&
      DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
  } >"$log" 2>&1; then
    echo "apt-get could not install: $*" >&2
    tail -n 5 "$log" >&2
  fi
  rm -f "$log"
}

want=$(missing)
if [ -n "$want" ] && [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing the peers of the tests: $want"
  # shellcheck disable=SC2086 # a list of words
  install $want
  want=$(missing)
fi

[ -n "$want" ] || exit 0
echo "Left out: the tests against these peers, which are not installed here: $want"
[ "${CI:-}" != true ] || { echo 'CI=true: every peer must be there' >&2; exit 1; }
