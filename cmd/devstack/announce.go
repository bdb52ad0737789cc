package main

import "github.com/syncsets/syncsets/cmd/devstack/internal/database"

// announce says where everything is and what to try next.
func (s *stack) announce() {
	s.out.Step("devstack", "%s", s.out.Good("everything is ready"))
	s.out.Title("\nSyncSets is at http://localhost:%d (loopback only, AUTH=none)", s.options.port)
	s.out.Print("  export POSTGRES_PARAMS=%s", s.params[database.Developer])
	s.out.Print("  export AMQP_URL=%s", s.amqpURL)
	s.out.Print("  logs: %s", s.relative(s.data.Path("log")))
	s.out.Title("\nTry, in another terminal:")
	s.out.Print(`  echo '{"name": "cluster1", "namespace": "foo", "kubeconfig": "foobar"}' | http POST localhost:%d/v1/clusters`, s.options.port)
	s.out.Print(`  http localhost:%d/v1/clustersyncs/foo/cluster1`, s.options.port)
	s.out.Print(`  psql $POSTGRES_PARAMS -c "select * from clusters"    (after the export above)`)
}

// suggest says what to try with the demo's target.
func (s *stack) suggest() {
	s.out.Title("\nThe stack stays up; the set and its target are yours to try:")
	s.out.Print("  http localhost:%d/v1/selectorsyncsets/greeting", s.options.port)
	s.out.Print("  http localhost:%d/v1/clustersyncs/demo/target", s.options.port)
	s.out.Print("  kubectl --kubeconfig %s get configmaps", s.relative(s.targetFile()))
	s.out.Print("\nCtrl-C stops everything.")
}
