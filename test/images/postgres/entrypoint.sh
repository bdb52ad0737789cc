#!/bin/sh
# Runs PostgreSQL the way the official image does, as far as testcontainers-go relies on it: POSTGRES_USER, POSTGRES_PASSWORD and
# POSTGRES_DB on the first start, PGDATA, arguments for the server, "ready to accept connections" printed twice.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
export PATH="$bin:$PATH" PGDATA="${PGDATA:-/var/lib/postgresql/data}" LC_ALL=C.UTF-8
user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /var/run/postgresql
	chown -R postgres:postgres "$PGDATA" /var/run/postgresql
	chmod 700 "$PGDATA"
	exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
[ "${1:-postgres}" = postgres ] || exec "$@"
[ $# -eq 0 ] || shift

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	[ -n "${POSTGRES_PASSWORD:-}" ] || { echo "POSTGRES_PASSWORD is not set" >&2; exit 1; }
	secret=$(mktemp)
	printf '%s\n' "$POSTGRES_PASSWORD" >"$secret"
	initdb -U "$user" --pwfile "$secret" --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8
	rm -f "$secret"
	echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
	# The first server only takes connections from inside; its line in the log is the first of the two that clients wait for.
	pg_ctl -D "$PGDATA" -o "-c listen_addresses=" -w start
	[ "$database" = postgres ] || printf 'CREATE DATABASE :"name";\n' | psql -v ON_ERROR_STOP=1 -v name="$database" -U "$user" -d postgres
	pg_ctl -D "$PGDATA" -m fast -w stop
	echo "PostgreSQL init process complete; ready for start up."
fi
exec postgres -c listen_addresses='*' "$@"
