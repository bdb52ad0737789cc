// Package devstack gives tests, benchmarks and `make run` private, real servers: Postgres, RabbitMQ and Kubernetes control planes.
//
//	tests        Postgres(t, "clusters")  RabbitMQ(t)  Kubernetes(t)      one of each per test binary, started on first use
//	             NewPostgres  NewRabbitMQ  NewKubernetes                  one of its own, for tests that stop, kill or restore it
//	programs     StartPostgres  StartRabbitMQ  StartKubernetes            without package testing
//	underneath   processes (binaries of this machine) | containers (testcontainers-go) | external (addresses that are given)
//
// Everything listens on loopback, on free ports, in a directory of its own. Every process is gone when its caller ends, also after a
// kill -9 of the caller: a watchdog in a session of its own reads a pipe that only the caller holds open, and kills what it guards
// when the pipe closes. Directories whose owner is dead are removed by the next start.
//
// The environment variables DEVSTACK, DEVSTACK_SHARED and the addresses that go with them are read by the functions for tests only
// (see [FromEnvironment]).
package devstack
