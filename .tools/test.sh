#!/bin/sh
# Every test of the main module and of the examples, under the race detector where it finds something. Those of the main
# module run beside PostgreSQL, RabbitMQ and Redis, which pigeonry-bench starts for them and ends.
#
#   test.sh <pigeonry-bench> <gotestsum> [example module...]
set -eu

bench=$1 gotestsum=$2
shift 2
export CGO_ENABLED=1 # the race detector needs it
# Chaos comes last and alone: it breaks gateways of its own, built without the race detector, and times their recovery.
chaos=./cmd/pigeonry-bench/chaos
# These drive other processes, or SQLite, which is ten times slower under the race detector. How the gateway's goroutines use the store
# is tested under it all the same: by accept, relay, dispatch and gateway.
plain='/cmd/pigeonry$|/cmd/pigeonry/scaffold|/sdk/channeltest$|/core/rollout$|/core/store/sqlite$|/core/api$'
# shellcheck disable=SC2046 # a list of packages
"$bench" engines -- "$gotestsum" --format pkgname-and-test-fails -- -race -timeout 10m \
  $(go list ./... | grep -v "/${chaos##*/}\$" | grep -Ev "$plain")
# shellcheck disable=SC2046 # a list of packages
"$gotestsum" --format pkgname-and-test-fails -- -timeout 10m $(go list ./... | grep -E "$plain")
"$gotestsum" --format pkgname-and-test-fails -- -timeout 10m "$chaos"
for dir in "$@"; do
  (cd "$dir" && "$gotestsum" --format pkgname-and-test-fails -- -race -timeout 5m ./...)
done
