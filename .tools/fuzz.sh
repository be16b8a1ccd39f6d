#!/bin/sh
# Runs every fuzz target for a short while.
#
#   fuzz.sh <time for each>
set -eu

find . -name '*_test.go' -not -path './.*' -not -path '*/node_modules/*' -exec grep -H '^func Fuzz' {} + |
  sed 's|^\(.*\)/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*|\1 \2|' | sort |
  while read -r dir target; do
    if ! out=$(cd "$dir" && go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" . 2>&1); then
      printf '%s\n' "$out"
      exit 1
    fi
    printf 'fuzz %s in %s: %s\n' "$target" "$dir" "$(printf '%s\n' "$out" | sed -n 's/.*\(execs: [0-9]*\).*/\1/p' | tail -n 1)"
  done
