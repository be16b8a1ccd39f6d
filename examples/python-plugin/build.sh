#!/bin/sh
# Builds the plugin as one executable file: <out>/<name>/<version>/<name>.
#
#   build.sh <out dir>
#
# PYTHON is the interpreter that the file names in its first line, "/usr/bin/env python3" by default. It
# needs the packages grpcio, protobuf and cryptography.
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
value() { sed -n "s/^    \"$1\": \"\(.*\)\",\$/\1/p" plugin/channel.py; }
name=$(value name) version=$(value version)

# A copy, because zipapp packs all that it finds: compiled files, too.
source=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$source"' EXIT
mkdir "$source/plugin"
cp plugin/*.py "$source/plugin/"
python3 -m zipapp --compress --python "${PYTHON:-/usr/bin/env python3}" --output "$source/$name" "$source/plugin"

chmod 755 "$source/$name"
mkdir -p "$out/$name/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$source/$name" "$out/$name/$version/$name"
