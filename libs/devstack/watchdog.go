package devstack

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// gate waits for the word "go" before it becomes the program: a caller that dies before its watchdog knows the program closes the
// pipe, and the program never starts.
const gate = `read -r go && [ "$go" = go ] && exec "$@" </dev/null`

// watch waits for its input to end. "done" means that the guarded process ended in order. Else the caller is dead: the process group
// $1 and all descendants of its leader (Postgres gives each backend a session of its own) are killed and the directory $2 is removed.
const watch = `
descendants() {
	for stat in /proc/[0-9]*/stat; do
		{ read -r line <"$stat"; } 2>/dev/null || continue
		set -- "$1" ${line##*) }
		[ "$3" = "$1" ] || continue
		child=${stat#/proc/}; child=${child%/stat}
		echo "$child"
		(descendants "$child")
	done
}
trap '' HUP INT QUIT TERM
read -r word && [ "$word" = "done" ] && exit 0
all=$(descendants "$1")
kill -KILL "-$1" 2>/dev/null
for pid in $all; do kill -KILL "$pid" 2>/dev/null; done
[ -z "$2" ] && exit 0
for try in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf -- "$2" 2>/dev/null && exit 0
	sleep 0.2
done
`

// A watchdog kills one process group when this process is gone, however it went.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// watchContainer does the same for the container $1.
const watchContainer = `
trap '' HUP INT QUIT TERM
read -r word && [ "$word" = "done" ] && exit 0
exec docker rm --force --volumes "$1" >/dev/null 2>&1
`

// guard starts the watchdog of the group; dir is removed with it unless empty.
func guard(group int, dir string) (*watchdog, error) {
	return startWatchdog(watch, fmt.Sprint(group), dir)
}

// guardContainer starts the watchdog of a container. Where the docker command is missing, the next start sweeps the container.
func guardContainer(id string) (*watchdog, error) { return startWatchdog(watchContainer, id) }

func startWatchdog(script string, args ...string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "devstack-watchdog"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to the caller's group must not reach it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// dismiss ends the watchdog without harm to what it guarded.
func (w *watchdog) dismiss() {
	_, _ = io.WriteString(w.pipe, "done\n")
	_ = w.pipe.Close()
	_ = w.cmd.Wait()
}

// shell is the argument list that runs argv behind the gate.
func shell(argv []string) []string {
	return append([]string{"/bin/sh", "-c", gate, argv[0]}, argv...)
}

// environment is this process's without what would steer the programs that are started, with extra on top.
func environment(extra ...string) []string {
	keep := []string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"PATH", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			keep = append(keep, name+"="+value)
		}
	}
	return append(keep, extra...)
}
