#!/bin/sh
# The plugin contract only ever grows: compares proto/ with its last release and with its state before the
# commit that changed it last.
#
#   check-proto.sh <buf>
set -eu

buf=$1
bases=$(
  git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true
  git log --format=%H -n 2 -- 'proto/*.proto' 2>/dev/null | sed -n 2p
)
if [ -z "$bases" ]; then
  echo 'plugin contract: no earlier state to compare with'
  exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
for base in $bases; do
  if ! git cat-file -e "$base:proto/buf.yaml" 2>/dev/null; then
    echo "plugin contract: $base has none yet"
    continue
  fi
  mkdir "$old/$base"
  git archive "$base" proto | tar -x -C "$old/$base"
  (cd proto && "$buf" breaking --against "$old/$base/proto")
  echo "plugin contract: compatible with $base"
done
