#!/bin/sh
# Makes sure that a container engine answers: uses the one that is there, else installs Debian's docker.io (as root) and starts dockerd
# in the background. Prints what it did. `engine.sh stop` stops the dockerd that it started, and nothing else.
set -eu
state=${ENGINE_DIR:-/var/tmp/syncsets-engine}

answers() { docker version >/dev/null 2>&1; }

if [ "${1:-start}" = stop ]; then
	[ -r "$state/docker.pid" ] || exit 0
	kill "$(cat "$state/docker.pid")" 2>/dev/null || true
	exit 0
fi

if answers; then
	echo "a container engine answers: $(docker version --format '{{.Server.Version}}')"
	exit 0
fi
[ "$(id -u)" = 0 ] || { echo "no container engine answers, and installing one needs root" >&2; exit 1; }
if ! command -v dockerd >/dev/null 2>&1 || ! command -v debootstrap >/dev/null 2>&1; then
	command -v apt-get >/dev/null 2>&1 || { echo "no container engine answers, and there is no apt-get to install one" >&2; exit 1; }
	echo "installing docker.io and debootstrap"
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends docker.io debootstrap iptables
fi

# start_engine ARGUMENTS… starts dockerd, whose containers publish ports on loopback only, and waits half a minute for its answer.
start_engine() {
	mkdir -p "$state"
	rm -f "$state/docker.pid"
	setsid dockerd --ip 127.0.0.1 --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/docker.pid" "$@" >"$state/dockerd.log" 2>&1 </dev/null &
	pid=$!
	for _ in $(seq 60); do
		answers && return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.5
	done
	kill "$pid" 2>/dev/null || true
	return 1
}

# Kernels in small machines lack overlay file systems or packet filters: the plain ways come second. Without packet filters published
# ports still work on loopback, through dockerd's own proxy.
start_engine || start_engine --storage-driver vfs --iptables=false --ip6tables=false ||
	{ tail -30 "$state/dockerd.log" >&2; echo "dockerd does not start" >&2; exit 1; }
echo "started dockerd $(docker version --format '{{.Server.Version}}'), storage driver $(docker info --format '{{.Driver}}')"
