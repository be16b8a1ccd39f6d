#!/bin/sh
# Generates again and compares. What differs stays fresh in the tree, to be looked at and committed.
set -eu

sums() {
  find . -name '*.go' -not -path './.*' -not -path '*/node_modules/*' -exec grep -l '^// Code generated .* DO NOT EDIT\.$' {} + |
    sort | xargs sha256sum
}
before=$(mktemp)
trap 'rm -f "$before" "$before.after"' EXIT
sums >"$before"
make generate
sums >"$before.after"
if ! diff "$before" "$before.after" >/dev/null; then
  echo 'Generated code was not up to date; it is now. Commit it:' >&2
  diff "$before" "$before.after" | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
  exit 1
fi
echo 'generated code is up to date'
