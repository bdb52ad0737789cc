//go:build !linux

package child

import (
	"os/exec"
	"syscall"
)

// attributes put the child into a process group of its own, so that Ctrl-C reaches its owner only. Only Linux can also end it with
// its owner after a kill -9.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Start starts cmd in a process group of its own.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = attributes()
	return cmd.Start()
}
