package local_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// warm is how long a start on kept data may take; the race detector's packages compile beside this test, so it is generous.
const warm = 60 * time.Second

func TestDataSurvivesKillNineAndRestarts(t *testing.T) {
	binary, data, port := buildDevstack(t), filepath.Join(t.TempDir(), "data"), freePort(t)
	first := start(t, binary, data, port)
	url := fmt.Sprintf("http://localhost:%d/v1/clusters", port)
	res, err := http.Post(url, "application/json", strings.NewReader(`{"name": "cluster1", "namespace": "foo", "kubeconfig": "foobar"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("POST answered %s", res.Status)
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.exit(5 * time.Second)
	awaitGone(t, data)

	second := start(t, binary, data, port)
	t.Logf("first start %s, start on kept data after a kill -9 %s", first.Ready, second.Ready)
	if second.Ready > warm {
		t.Errorf("the start on kept data took %s", second.Ready)
	}
	if first.Postgres != second.Postgres || first.Broker != second.Broker {
		t.Errorf("printed %s and %s, before that %s and %s", second.Postgres, second.Broker, first.Postgres, first.Broker)
	}
	if status := get(t, url+"/foo/cluster1"); status != http.StatusOK {
		t.Errorf("the cluster written before: %d", status)
	}
	if err := second.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := second.exit(40 * time.Second); code != 0 {
		t.Errorf("after Ctrl-C the exit code is %d", code)
	}
	awaitGone(t, data)
}

func TestWhatIsInTheWayIsNamed(t *testing.T) {
	binary, data := buildDevstack(t), filepath.Join(t.TempDir(), "data")
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := other.Addr().(*net.TCPAddr).Port
	l := launch(t, binary, data, port)
	if code := l.exit(30 * time.Second); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	want := fmt.Sprintf("port %d is taken", port)
	if out := l.output(); !strings.Contains(out, want) || !strings.Contains(out, fmt.Sprintf("make run PORT=%d", port+1)) {
		t.Errorf("printed %q, want it to say %q and what to do", out, want)
	}
}

func get(t testing.TB, url string) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
