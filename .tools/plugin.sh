#!/bin/sh
# Builds the plugin in a folder into <out>/<name>/<version>/<name>. The binary itself says both: a version
# is written down once, in the plugin.
#
#   plugin.sh <folder> <out>
set -eu

source=$1
mkdir -p "$2"
out=$(cd "$2" && pwd) # the build runs in another folder
fresh=$(mktemp "$out/.build-XXXXXX")
trap 'rm -f "$fresh"' EXIT

(cd "$source" && go build -o "$fresh" .)
described=$("$fresh" -describe)
name=$(printf '%s\n' "$described" | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' | head -n 1)
version=$(printf '%s\n' "$described" | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' | head -n 1)
if [ -z "$name" ] || [ -z "$version" ]; then
  echo "plugin.sh: $source: -describe names no name and version: $described" >&2
  exit 1
fi
mkdir -p "$out/$name/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$fresh" "$out/$name/$version/$name"
