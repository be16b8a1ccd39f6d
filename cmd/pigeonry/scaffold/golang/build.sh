#!/bin/sh
# Builds the plugin as <out>/my-plugin/<version>/my-plugin. It needs Go.
#
#   build.sh <out dir>
#
# VERSION is built instead of the version that main.go says. GOOS and GOARCH name another machine.
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=${VERSION:-$(sed -n 's/^var version = "\([^"]*\)".*/\1/p' main.go)}

fresh=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
go build -ldflags "-X main.version=$version" -o "$fresh/my-plugin" .

mkdir -p "$out/my-plugin/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$fresh/my-plugin" "$out/my-plugin/$version/my-plugin"
