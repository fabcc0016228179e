package main

// Network namespaces: entering that of a cluster, and ending what is left in one.

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func networkNamespace(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// openNetwork opens the network namespace of a cluster's init. It returns nil if that is the one of a process outside,
// which must never be swept. (Not even root may look at that of the machine's process 1 everywhere.)
func openNetwork(init, outside int) (*os.File, error) {
	shared, err := os.Stat(networkNamespace(outside))
	if err != nil {
		return nil, err
	}
	file, err := os.Open(networkNamespace(init))
	if err != nil {
		return nil, err
	}
	if cluster, err := file.Stat(); err != nil || os.SameFile(shared, cluster) {
		file.Close()
		return nil, err
	}
	return file, nil
}

// enterNetwork moves the calling goroutine into the network namespace of a process and binds it to its thread.
// Programs that it starts from then on are in there too; they keep the machine's files and processes in sight.
func enterNetwork(pid int) error {
	runtime.LockOSThread()
	namespace, err := os.Open(networkNamespace(pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter the network of the cluster (it takes root): %w", err)
	}
	return nil
}

// killInNetwork kills all processes in a network namespace but this one and those that it descends from. The open
// file keeps the namespace's number from being given to another meanwhile.
func killInNetwork(namespace *os.File) {
	spared := ancestors()
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || spared[pid] {
			continue
		}
		ours, err := namespace.Stat()
		if err != nil {
			return
		}
		if theirs, err := os.Stat(networkNamespace(pid)); err == nil && os.SameFile(ours, theirs) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// ancestors returns this process, its parent, and so on.
func ancestors() map[int]bool {
	all := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !all[pid]; pid = parent(pid) {
		all[pid] = true
	}
	return all
}

func parent(pid int) int {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// PID (NAME) STATE PARENT ...; the name may hold anything, so the last bracket counts.
	_, after, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	number, _ := strconv.Atoi(fields[1])
	return number
}
