#!/bin/sh
# Builds the plugin as one executable file: <out>/my-plugin/<version>/my-plugin.
#
#   build.sh <out dir>
#
# VERSION is built instead of the version that plugin/channel.py says. PYTHON is the interpreter that the file
# names in its first line, "/usr/bin/env python3" by default. It needs the packages grpcio, protobuf and
# cryptography.
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=${VERSION:-$(sed -n 's/^    "version": "\(.*\)",$/\1/p' plugin/channel.py)}

fresh=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
PYTHONPYCACHEPREFIX="$fresh/cache" python3 -m compileall -q plugin # finds mistakes in the syntax before they ship
# A copy, because zipapp packs all that it finds: compiled files, too.
mkdir "$fresh/plugin"
cp plugin/*.py "$fresh/plugin/"
sed "s/^    \"version\": \".*\",\$/    \"version\": \"$version\",/" plugin/channel.py >"$fresh/plugin/channel.py"
python3 -m zipapp --compress --python "${PYTHON:-/usr/bin/env python3}" --output "$fresh/my-plugin" "$fresh/plugin"

chmod 755 "$fresh/my-plugin"
mkdir -p "$out/my-plugin/$version"
# A rename, so that a running process keeps the file that it was started from.
mv -f "$fresh/my-plugin" "$out/my-plugin/$version/my-plugin"
