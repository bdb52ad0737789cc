#!/usr/bin/env bash
# Compares the steps of the demo that README.md shows with what `make demo` printed (a file); times and widths may differ.
set -euo pipefail
cd "$(dirname "$0")/.."

steps() {
  sed -E 's/[0-9]+ ms/N ms/; s/[0-9]{2}:[0-9]{2}:[0-9]{2}/TIME/g; s/ +/ /g; s/ $//' |
    awk '/^1 POST/ {on = 1} /^```/ || /^All [0-9]+ steps/ {on = 0} on && NF'
}

shown=$(steps <README.md)
if [ -z "$shown" ]; then
  echo "README.md shows no steps of the demo" >&2
  exit 1
fi
if ! diff <(echo "$shown") <(steps <"${1:?usage: readme-demo.sh OUTPUT}"); then
  echo "README.md (<) shows other steps than make demo printed (>)" >&2
  exit 1
fi
