#!/bin/bash
# Runs the store, relay and end-to-end tests with Postgres and RabbitMQ in containers, and fails when no container was started. Images
# come from their registry, from DEVSTACK_POSTGRES_IMAGE and DEVSTACK_RABBITMQ_IMAGE, or are built from Debian's packages where no
# registry answers (test/images).
set -euo pipefail
cd "$(dirname "$0")/.."

started=$(mktemp)
docker version >/dev/null 2>&1 || stop=yes # an engine that ran before goes on
trap 'rm -f "$started"; [ -z "${stop:-}" ] || ./test/images/engine.sh stop' EXIT

./test/images/engine.sh

have() { docker image inspect "$1" >/dev/null 2>&1 || timeout 180 docker pull --quiet "$1" >/dev/null 2>&1; }
if ! have "${DEVSTACK_POSTGRES_IMAGE:-postgres:17-alpine}" || ! have "${DEVSTACK_RABBITMQ_IMAGE:-rabbitmq:4-alpine}"; then
	echo "no registry answers: building stand-ins from Debian's packages"
	./test/images/build.sh
	export DEVSTACK_POSTGRES_IMAGE=syncsets.local/postgres:17 DEVSTACK_RABBITMQ_IMAGE=syncsets.local/rabbitmq:4
fi

export DEVSTACK=containers DEVSTACK_STARTED=$started
mkdir -p bin
go build -o bin/devstack ./cmd/devstack
bin/devstack share -- go test -count=1 -p "${TEST_P:-2}" -timeout 15m ./libs/outbox/... ./libs/amqp/... ./libs/postgres/... ./test/e2e/... \
	./services/clusters/internal/postgres/... ./services/syncsets/... ./services/reconciler/internal/postgres/...

sort "$started" | awk '{print $1}' | uniq -c
[ -s "$started" ] || { echo "no container was started" >&2; exit 1; }
