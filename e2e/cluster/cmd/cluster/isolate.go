package main

// The private view that a cluster has of the machine: its mounts, kernel settings and network.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// shadowed are directories in which container tools keep state under fixed names. A cluster gets its own.
var (
	// emptied start out empty.
	emptied = []string{"/run"}
	// overlaid show what the machine has and keep what is written to themselves.
	overlaid = []string{"/var/lib", "/var/log"}
)

// kernelSettings are what the kubelet demands of the whole machine. It is shown these values and so leaves the
// machine's own alone.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// isolateMounts makes the mounts of a fresh mount namespace private and puts the cluster's own over those of the
// machine that it must not share.
func isolateMounts(l layout) error {
	// First cut the ties with the machine, then let pods share mounts with the node.
	if err := mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	dir, err := os.Open(string(l))
	if err != nil {
		return err
	}
	defer dir.Close()

	for _, path := range emptied {
		if err := mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return err
		}
	}
	for _, path := range overlaid {
		scratch := filepath.Join("/run/overlay", strings.ReplaceAll(path, "/", "-"))
		upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
		for _, dir := range []string{upper, work} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := mount("overlay", path, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)); err != nil {
			return err
		}
	}
	if isShadowed(string(l)) {
		if err := os.MkdirAll(string(l), 0o755); err != nil {
			return err
		}
		if err := mount(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), string(l), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return pretendKernelSettings()
}

// isShadowed tells whether a path lies where isolateMounts puts something else.
func isShadowed(path string) bool {
	for _, above := range append(emptied, overlaid...) {
		if path == above || strings.HasPrefix(path, above+"/") {
			return true
		}
	}
	return false
}

func pretendKernelSettings() error {
	for name, value := range kernelSettings {
		file := filepath.Join("/run/sysctl", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("cannot mount %s on %s: %w", source, target, err)
	}
	return nil
}

// networkCommands are for `ip -batch`. A bridge carries the node's address since not every kernel has dummy devices.
const networkCommands = `link set lo up
link add node0 type bridge
addr add ` + nodeAddress + `/24 dev node0
link set node0 up
route add default dev node0
`

// networkSettings are kernel parameters of the network namespace. Refusals must not be rationed: look-ups of names,
// which nobody serves, would time out instead of failing.
var networkSettings = map[string]string{"ip_forward": "1", "icmp_ratelimit": "0"}

// isolateNetwork gives a fresh network namespace the node's address.
func isolateNetwork(ctx context.Context, m *manager) error {
	batch := m.layout.in("network.batch")
	if err := os.WriteFile(batch, []byte(networkCommands), 0o644); err != nil {
		return err
	}
	if err := m.tool(ctx, "ip", "-batch", batch); err != nil {
		return err
	}
	for name, value := range networkSettings {
		if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", name), []byte(value+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
