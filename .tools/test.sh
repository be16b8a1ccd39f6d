#!/bin/sh
# Every test of the main module and of the examples, under the race detector.
#
#   test.sh <gotestsum> [example module...]
set -eu

gotestsum=$1
shift
export CGO_ENABLED=1 # the race detector needs it
"$gotestsum" --format pkgname-and-test-fails -- -race -timeout 10m ./...
for dir in "$@"; do
  (cd "$dir" && "$gotestsum" --format pkgname-and-test-fails -- -race -timeout 5m ./...)
done
