#!/bin/sh
# Builds stand-ins for the two images that tests start in containers, from the distribution's own packages, where no registry can be
# reached: syncsets.local/postgres:17 and syncsets.local/rabbitmq:4. Debian trixie has PostgreSQL 17 and RabbitMQ 4.0.
#
#	test/images/build.sh          builds what is missing
#	test/images/build.sh --force  builds both again
#
# Needs root, debootstrap and a running engine (test/images/engine.sh). The mirror is the one that apt is configured for.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d "${TMPDIR:-/tmp}/syncsets-images.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# mirror prints the first Debian archive in apt's configuration, of either format.
mirror() {
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] && awk '
			tolower($1) == "uris:" { uri = $2 }
			tolower($1) == "suites:" && uri ~ /debian\/?$/ { print uri; exit }' "$file"
	done
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /debian\/?$/) { print $i; exit } }'
}

# image NAME PACKAGES… makes a root file system with the packages and the entrypoint of the folder, and imports it.
image() {
	tag=$1 folder=$2 packages=$3
	if [ "$force" = no ] && docker image inspect "$tag" >/dev/null 2>&1; then
		echo "$tag is there"
		return
	fi
	echo "$tag: debootstrap of trixie from $mirror with $packages; a few minutes"
	root=$work/$folder
	debootstrap --variant=minbase --include="$packages" trixie "$root" "$mirror" >"$work/$folder.log" 2>&1 ||
		{ tail -40 "$work/$folder.log" "$root/debootstrap/debootstrap.log" >&2; exit 1; }
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man "$root"/var/lib/postgresql/*/main
	mkdir -p "$work/context-$folder"
	tar -C "$root" --numeric-owner --exclude=./dev --exclude=./proc --exclude=./sys -cf "$work/context-$folder/rootfs.tar" .
	rm -rf "$root"
	cp "$folder/Dockerfile" "$folder/entrypoint.sh" "$work/context-$folder/"
	docker build -q -t "$tag" "$work/context-$folder"
}

force=no
[ "${1:-}" != --force ] || force=yes
[ "$(id -u)" = 0 ] || { echo "test/images/build.sh: debootstrap needs root" >&2; exit 1; }
mirror=$(mirror | head -n 1)
[ -n "$mirror" ] || { echo "test/images/build.sh: no Debian archive in apt's sources" >&2; exit 1; }
image syncsets.local/postgres:17 postgres postgresql
image syncsets.local/rabbitmq:4 rabbitmq rabbitmq-server
