package main

// The cgroup below which the kubelet puts the pods of a cluster, in either version of cgroups.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupMount = "/sys/fs/cgroup"

// cgroupTrees returns the roots of all hierarchies: one with version 2, one per controller with version 1.
func cgroupTrees() ([]string, error) {
	if cgroupVersion2() {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, fmt.Errorf("cannot find the cgroups: %w", err)
	}
	var trees []string
	for _, entry := range entries {
		// Links such as cpu -> cpu,cpuacct are the same tree once more.
		if entry.IsDir() {
			trees = append(trees, filepath.Join(cgroupMount, entry.Name()))
		}
	}
	return trees, nil
}

func cgroupVersion2() bool {
	_, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers"))
	return err == nil
}

// makeCgroups makes the cgroup of a cluster in all hierarchies.
func makeCgroups(id string) error {
	if cgroupVersion2() {
		if err := delegateControllers(cgroupMount); err != nil {
			return err
		}
	}
	trees, err := cgroupTrees()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		dir := filepath.Join(tree, id)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the cgroup of the pods: %w", err)
		}
		// A new cpuset has neither processors nor memory, and takes no process until it has.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value, err := os.ReadFile(filepath.Join(tree, file)); err == nil && !cgroupVersion2() {
				if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
					return fmt.Errorf("cannot set up the cgroup of the pods: %w", err)
				}
			}
		}
	}
	return nil
}

// delegateControllers lets the children of a cgroup of version 2 use all of its controllers.
func delegateControllers(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	control := filepath.Join(dir, "cgroup.subtree_control")
	for _, controller := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(control, []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("cannot enable the cgroup controller %s in %s (in a container, give it a cgroup namespace of the machine): %w", controller, control, err)
		}
	}
	return nil
}

// removeCgroups removes the cgroup of a cluster with all below it. Its processes may have been killed just now and
// take a moment to leave.
func removeCgroups(id string) error {
	trees, err := cgroupTrees()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, tree := range trees {
		for {
			err := removeCgroup(filepath.Join(tree, id))
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("cannot remove a cgroup of the cluster: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeCgroup(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
