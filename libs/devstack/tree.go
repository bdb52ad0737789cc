package devstack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// descendants are the process ids of all children of pid and theirs, whatever group they are in, and of the members of its group.
func descendants(pid int) []int {
	children := map[int][]int{}
	for child, links := range table() {
		children[links.parent] = append(children[links.parent], child)
		if links.group == pid && links.parent != pid && child != pid {
			children[pid] = append(children[pid], child)
		}
	}
	var all []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

type links struct{ parent, group int }

// table maps every process of the machine to its parent and group: from /proc where there is one, else from ps.
func table() map[int]links {
	found := map[int]links{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if fields := statFields(pid); len(fields) > 2 && fields[0] != "Z" {
			found[pid] = links{parent: number(fields[1]), group: number(fields[2])}
		}
	}
	if len(stats) > 0 {
		return found
	}
	out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=,pgid=").Output()
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			found[number(fields[0])] = links{parent: number(fields[1]), group: number(fields[2])}
		}
	}
	return found
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// statFields are the fields of /proc/PID/stat after the name in parentheses: state, parent, …; the start time is field 19.
func statFields(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// born tells processes apart that had the same pid one after the other; "" when there is no such process.
func born(pid int) string {
	if fields := statFields(pid); len(fields) > 19 {
		if fields[0] == "Z" {
			return ""
		}
		return fields[19]
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return ""
	}
	out, _ := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	return strings.ReplaceAll(strings.TrimSpace(string(out)), " ", "_")
}

func living(pids []int) bool {
	for _, pid := range pids {
		if born(pid) != "" {
			return true
		}
	}
	return false
}

func signalAll(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}
