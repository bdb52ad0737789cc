#!/bin/sh
# Runs RabbitMQ the way the official image does, as far as testcontainers-go relies on it: RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS
# and RABBITMQ_DEFAULT_VHOST on the first start, the log with "Server startup complete" on standard output.
set -eu
export HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- LANG=C.UTF-8
config=/etc/rabbitmq/conf.d/10-entrypoint.conf
if [ "$(id -u)" = 0 ]; then
	mkdir -p /etc/rabbitmq/conf.d /var/lib/rabbitmq /var/log/rabbitmq
	{
		echo "loopback_users.guest = false"
		echo "log.console = true"
		[ -z "${RABBITMQ_DEFAULT_USER:-}" ] || echo "default_user = $RABBITMQ_DEFAULT_USER"
		[ -z "${RABBITMQ_DEFAULT_PASS:-}" ] || echo "default_pass = $RABBITMQ_DEFAULT_PASS"
		[ -z "${RABBITMQ_DEFAULT_VHOST:-}" ] || echo "default_vhost = $RABBITMQ_DEFAULT_VHOST"
	} >"$config"
	chown -R rabbitmq:rabbitmq /etc/rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
	exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups "$0" "$@"
fi
case "${1:-rabbitmq-server}" in rabbitmq-server) ;; *) exec "$@" ;; esac
unset RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS RABBITMQ_DEFAULT_VHOST
exec /usr/lib/rabbitmq/bin/rabbitmq-server
