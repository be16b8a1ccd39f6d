#!/bin/sh
# Runs every fuzz target for a short while, two at a time.
#
#   fuzz.sh <time for each>
set -eu

# one runs a target of a package.
# shellcheck disable=SC2016 # it is for the inner shell
one='
  dir=$1 target=$2 time=$3
  if ! out=$(cd "$dir" && go test -run "^\$" -fuzz "^$target\$" -fuzztime "$time" -parallel 1 . 2>&1); then
    printf "%s\n" "$out"
    exit 255 # xargs begins no other
  fi
  printf "fuzz %s in %s: %s\n" "$target" "$dir" "$(printf "%s\n" "$out" | sed -n "s/.*\(execs: [0-9]*\).*/\1/p" | tail -n 1)"
'
find . -name '*_test.go' -not -path './.*' -not -path '*/node_modules/*' -exec grep -H '^func Fuzz' {} + |
  sed "s|^\(.*\)/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*|\1 \2 $1|" | sort |
  xargs -n 3 -P 2 sh -c "$one" one
