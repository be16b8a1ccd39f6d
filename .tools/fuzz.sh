#!/bin/sh
# Runs every fuzz target for a short while, two packages at a time.
#
#   fuzz.sh <time for each>
set -eu

# one builds a package's tests once and runs its targets. Making an input smaller is worth 20 tries: by default it may take all of the time.
# shellcheck disable=SC2016 # it is for the inner shell
one='
  set -eu
  time=$1 dir=$2
  built=$(mktemp -d)
  trap "rm -rf \"$built\"" EXIT
  cd "$dir"
  if ! go test -c -fuzz . -o "$built/test" . 2>&1; then exit 255; fi # xargs begins no other
  for target in $(sed -n "s/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p" ./*_test.go); do
    if ! "$built/test" -test.run "^\$" -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzminimizetime 20x -test.fuzzcachedir "$built/corpus" -test.parallel 1 >"$built/out" 2>&1; then
      # An end by the clock alone found nothing: https://go.dev/issue/75804, mended in Go 1.27.
      if grep -qi "failing input" "$built/out" || ! grep -q "^ *context deadline exceeded\$" "$built/out"; then
        cat "$built/out"
        exit 255
      fi
    fi
    printf "fuzz %s in %s: %s\n" "$target" "$dir" "$(sed -n "s/.*\(execs: [0-9]*\).*/\1/p" "$built/out" | tail -n 1)"
  done
'
find . -name '*_test.go' -not -path './.*' -not -path '*/node_modules/*' -exec grep -l '^func Fuzz' '{}' + |
  tr '\n' '\0' |
  xargs -0 -n 1 dirname | sort -u |
  xargs -n 1 -P 2 sh -c "$one" one "$1"
