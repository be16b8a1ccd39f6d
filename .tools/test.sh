#!/bin/sh
# Every test of the main module and of the examples, under the race detector where it finds something. Those of the main
# module run beside PostgreSQL, RabbitMQ and Redis, which pigeonry-bench starts for them and ends.
#
#   test.sh <pigeonry-bench> <gotestsum> [example module...]
set -eu

if [ "${PIGEONRY_TEST_ENGINES-}" != started ]; then
  exec "$1" engines -- env PIGEONRY_TEST_ENGINES=started "$0" "$@"
fi
gotestsum=$2
shift 2
# Tests wait more than they compute: four packages at a time keep two cores busy. go vet is one of the linters, and
# symbols for debuggers take long to link.
test="$gotestsum --format pkgname-and-test-fails -- -vet=off -ldflags=-s -timeout 10m -p 4"
# Chaos comes last, three runs at a time: it breaks gateways and engines of its own, built without the race detector, and
# times their recovery. The engines of the other tests stand idle meanwhile.
chaos=./cmd/pigeonry-bench/chaos
# These drive other processes.
plain='/cmd/pigeonry$|/cmd/pigeonry/scaffold|/sdk/channeltest$'

export CGO_ENABLED=1            # the race detector needs it
export GORACE=atexit_sleep_ms=0 # plugins of tests end at once
# Within SQLite, which is C that became Go, there is nothing to find for the detector, and it would be ten times slower.
# shellcheck disable=SC2046,SC2086 # lists of packages and of flags
$test -race -gcflags='modernc.org/sqlite/lib=-race=false' $(go list ./... | grep -v "/${chaos##*/}\$" | grep -Ev "$plain")
# shellcheck disable=SC2046,SC2086 # lists of packages and of flags
$test -parallel 3 $(go list ./... | grep -E "$plain")
# shellcheck disable=SC2086 # a list of flags
$test -parallel 3 "$chaos"
for dir in "$@"; do
  # shellcheck disable=SC2086 # a list of flags
  (cd "$dir" && $test -race ./...)
done
