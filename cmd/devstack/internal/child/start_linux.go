package child

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// attributes put the child into a process group of its own, so that Ctrl-C reaches its owner only, and let the kernel kill it when
// its owner is gone, also after a kill -9.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

type request struct {
	cmd  *exec.Cmd
	done chan error
}

var requests = sync.OnceValue(func() chan request {
	c := make(chan request)
	go func() {
		// The signal comes when the thread ends that started the child, so all are started by one thread that never does.
		runtime.LockOSThread()
		for r := range c {
			r.done <- r.cmd.Start()
		}
	}()
	return c
})

// Start starts cmd so that it ends with this process.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = attributes()
	r := request{cmd: cmd, done: make(chan error, 1)}
	requests() <- r
	return <-r.done
}
