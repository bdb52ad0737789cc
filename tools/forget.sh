#!/usr/bin/env bash
# Deletes a data folder of `make run`, with what it links to outside (the data of Postgres below a folder that only root may enter).
set -euo pipefail

dir=${1:?usage: forget.sh DATA_DIR [FOLDER THAT HOLDS THE DATA OUTSIDE]}
outside=${2:-/var/lib/syncsets}

if [ ! -d "$dir" ]; then
  echo "$dir: nothing to delete"
  exit 0
fi
if [ ! -e "$dir/lock" ]; then
  echo "$dir is not a data folder of make run: there is no lock file in it. Nothing was deleted." >&2
  exit 2
fi
if command -v flock >/dev/null && ! flock --nonblock "$dir/lock" true; then
  echo "$dir is in use by process $(cat "$dir/lock"): stop that stack first. Nothing was deleted." >&2
  exit 2
fi
for link in "$dir"/postgres*; do
  [ -L "$link" ] || continue
  target=$(readlink "$link")
  case $target in
    */..*) ;;
    "$outside"/?*) rm -rf -- "$target" && echo "deleted $target" ;;
  esac
done
rm -rf -- "$dir"
echo "deleted $dir"
