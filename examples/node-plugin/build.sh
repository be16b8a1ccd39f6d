#!/bin/sh
# Builds the plugin as one executable file: <out>/<name>/<version>/<name>. It needs node and npm, and
# whoever runs the file needs node alone.
#
#   build.sh <out dir>
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
value() { sed -n "s/^  $1: '\(.*\)',\$/\1/p" src/channel.js; }
name=$(value name) version=$(value version)

[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2

fresh=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
# CommonJS, because that is what node takes a file without an ending for. The contract becomes part of
# the file as text.
node_modules/.bin/esbuild src/main.js --bundle --platform=node --target=node20 --format=cjs \
  --loader:.proto=text --banner:js='#!/usr/bin/env node' --log-level=warning --outfile="$fresh/$name"

chmod 755 "$fresh/$name"
mkdir -p "$out/$name/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$fresh/$name" "$out/$name/$version/$name"
