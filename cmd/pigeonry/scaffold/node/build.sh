#!/bin/sh
# Builds the plugin as one executable file: <out>/my-plugin/<version>/my-plugin. It needs node and npm, and
# whoever runs the file needs node alone.
#
#   build.sh <out dir>
#
# VERSION is built instead of the version that src/channel.js says.
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=${VERSION:-$(sed -n "s/^  version: '\(.*\)',\$/\1/p" src/channel.js)}

[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2

fresh=$(mktemp -d "$out/.build-XXXXXX")
# A copy with the version in it, here, so that node_modules is found.
source=$(mktemp -d .build-XXXXXX)
trap 'rm -rf "$fresh" "$source"' EXIT
cp src/* "$source/"
sed "s/^  version: '.*',\$/  version: '$version',/" src/channel.js >"$source/channel.js"
# CommonJS, because that is what node takes a file without an ending for. The contract becomes part of
# the file as text.
node_modules/.bin/esbuild "$source/main.js" --bundle --platform=node --target=node20 --format=cjs \
  --loader:.proto=text --banner:js='#!/usr/bin/env node' --log-level=warning --outfile="$fresh/my-plugin"

chmod 755 "$fresh/my-plugin"
mkdir -p "$out/my-plugin/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$fresh/my-plugin" "$out/my-plugin/$version/my-plugin"
