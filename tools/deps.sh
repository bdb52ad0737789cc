#!/bin/bash
# Makes sure that this machine can run the system and its tests: Postgres and RabbitMQ (as container images or as programs), a C compiler
# for the race detector, and psql, jq and http, which the examples use. Debian's packages are installed when this runs as root; else the
# one command that would do it is printed. Quick when nothing is missing.
set -euo pipefail

packages=()
formulas=()
need() { # need PACKAGE FORMULA: remembers what to install
	packages+=("$1")
	formulas+=("$2")
}

# An image that is here or can be pulled makes the program unnecessary.
image() {
	docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$1" >/dev/null 2>&1
}
engine=$(docker info --format '{{.ServerVersion}}' 2>/dev/null || true)
found() { compgen -G "$1" >/dev/null; }

if ! found '/usr/lib/postgresql/*/bin/postgres' && ! command -v postgres >/dev/null; then
	[ -n "$engine" ] && image "${DEVSTACK_POSTGRES_IMAGE:-postgres:17-alpine}" || need postgresql postgresql@17
fi
if ! found /usr/lib/rabbitmq/bin/rabbitmq-server && ! command -v rabbitmq-server >/dev/null; then
	[ -n "$engine" ] && image "${DEVSTACK_RABBITMQ_IMAGE:-rabbitmq:4-alpine}" || need rabbitmq-server rabbitmq
fi
servers=${#packages[@]}
command -v cc >/dev/null || { need gcc gcc; need libc6-dev gcc; }
command -v psql >/dev/null || need postgresql-client libpq
command -v jq >/dev/null || need jq jq
command -v http >/dev/null || need httpie httpie

[ ${#packages[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing ${packages[*]}"
	# The packages would start services of their own; ours are private.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod +x /usr/sbin/policy-rc.d
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	# Nor would anyone use the cluster that postgresql's package makes.
	mkdir -p /etc/postgresql-common/createcluster.d
	[ -e /etc/postgresql-common/createcluster.d/syncsets.conf ] ||
		echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/syncsets.conf
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -q --no-install-recommends "${packages[@]}"
	exit 0
fi

if command -v apt-get >/dev/null; then
	command="sudo apt-get install -y ${packages[*]}"
elif command -v dnf >/dev/null; then
	command="sudo dnf install -y ${packages[*]/postgresql-client/postgresql}"
	command=${command/libc6-dev/glibc-devel}
elif command -v brew >/dev/null; then
	command="brew install ${formulas[*]}"
else
	command="install ${packages[*]} with your system's package manager, or start Docker"
fi
echo "missing: ${packages[*]}" >&2
echo "  $command" >&2
# Without servers nothing runs; without the rest only some examples and tests do not.
[ "$servers" -eq 0 ]
