package main

// Tests that start real clusters and look for what is left of them. They run when CLUSTER_E2E=1, as root.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const podinfoDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.local/podinfo:1.0.0
        readinessProbe: {httpGet: {path: /readyz, port: 9898}, periodSeconds: 1}
`

// patience is the deadline of all polling in these tests.
const patience = time.Minute

// runner builds the runner and returns its path. Without CLUSTER_E2E the test is skipped.
func runner(t *testing.T) string {
	t.Helper()
	if os.Getenv("CLUSTER_E2E") == "" {
		t.Skip("starts real clusters: set CLUSTER_E2E=1")
	}
	if os.Geteuid() != 0 {
		t.Fatal("real clusters take root")
	}
	path := filepath.Join(t.TempDir(), "cluster")
	if output, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

// shortDir returns a directory whose path is short enough for sockets. A cluster that a failed test leaves in it is
// ended.
func shortDir(t *testing.T) layout {
	t.Helper()
	dir, err := os.MkdirTemp("", "cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down(layout(dir)); err != nil {
			t.Log(err)
		}
		os.RemoveAll(dir)
	})
	return layout(dir)
}

// must runs a command to its end and returns what it wrote to its standard output.
func must(t *testing.T, input string, command ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out.String(), problems.String())
	}
	return out.String()
}

// eventually polls until check returns nothing that is wrong.
func eventually(t *testing.T, what string, check func() []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := until(ctx, what, func(context.Context) error {
		if wrong := check(); len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "\n"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// witness remembers the namespaces of a running cluster. It holds no file of theirs open, which would keep them.
type witness struct {
	layout     layout
	namespaces map[string]bool // such as "pid:[4026532177]"
}

func newWitness(t *testing.T, l layout) witness {
	t.Helper()
	s, err := l.state()
	if err != nil {
		t.Fatal(err)
	}
	w := witness{l, map[string]bool{}}
	// Every process of the cluster counts: pods have network namespaces of their own.
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", s.Init))
	if err != nil {
		t.Fatal(err)
	}
	if own, _ := os.Readlink("/proc/self/ns/mnt"); own == inside {
		t.Fatal("the cluster has no mount namespace of its own")
	}
	w.namespaces[inside] = true
	for _, pid := range pids(t) {
		for _, kind := range []string{"pid", "net", "mnt"} {
			if descends(pid, s.Init) {
				if name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil {
					w.namespaces[name] = true
				}
			}
		}
	}
	return w
}

func pids(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func descends(pid, ancestor int) bool {
	for ; pid > 1; pid = parent(pid) {
		if pid == ancestor {
			return true
		}
	}
	return false
}

// traces lists what is there of the cluster: processes that are in its namespaces or name its directory, mounts in
// any namespace of the machine, and cgroups.
func (w witness) traces(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pid := range pids(t) {
		if pid == os.Getpid() {
			continue
		}
		for _, kind := range []string{"pid", "net", "mnt"} {
			if name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil && w.namespaces[name] {
				found = append(found, fmt.Sprintf("process %d is in %s", pid, name))
			}
		}
		// What is dead but not yet collected by the machine's process 1 has no namespaces and an empty command line.
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && bytes.Contains(line, []byte(w.layout)) {
			found = append(found, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
		if mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid)); err == nil {
			for line := range strings.Lines(string(mounts)) {
				if strings.Contains(line, string(w.layout)) || w.pinned(line) {
					found = append(found, fmt.Sprintf("process %d sees the mount %s", pid, line))
				}
			}
		}
	}
	cgroups, err := filepath.Glob(filepath.Join(cgroupMount, "*", w.layout.id()))
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob(filepath.Join(cgroupMount, w.layout.id()))
	for _, path := range append(cgroups, more...) {
		found = append(found, "cgroup "+path)
	}
	return found
}

// pinned tells whether a mount keeps one of the cluster's network namespaces alive.
func (w witness) pinned(mount string) bool {
	for name := range w.namespaces {
		if strings.Contains(mount, " "+name+" ") {
			return true
		}
	}
	return false
}

// deployed starts a cluster with pods in it.
func deployed(t *testing.T, runner string) (layout, witness) {
	t.Helper()
	l := shortDir(t)
	must(t, "", runner, "up", "--dir", string(l))
	kubectl := func(input string, args ...string) string {
		return must(t, input, append([]string{runner, "exec", "--dir", string(l), "--", "kubectl"}, args...)...)
	}
	kubectl(podinfoDeployment, "apply", "-f", "-")
	kubectl("", "wait", "deployment/web", "--for=condition=Available", "--timeout="+patience.String())
	w := newWitness(t, l)
	// Only if a running cluster shows all kinds of traces does their absence later mean something.
	networks := 0
	for name := range w.namespaces {
		if strings.HasPrefix(name, "net:") {
			networks++
		}
	}
	if networks < 3 {
		t.Fatalf("%d network namespaces are seen, want those of the node and of two pods", networks)
	}
	found := strings.Join(w.traces(t), "\n")
	for _, kind := range []string{"process", "mount", "cgroup"} {
		if !strings.Contains(found, kind) {
			t.Fatalf("a running cluster shows no %s:\n%s", kind, found)
		}
	}
	return l, w
}

func (w witness) nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "waiting until nothing is left of the cluster", func() []string { return w.traces(t) })
}

func (w witness) noDirectory(t *testing.T) {
	t.Helper()
	eventually(t, "waiting until the directory is removed", func() []string {
		if _, err := os.Stat(string(w.layout)); err == nil {
			return []string{string(w.layout) + " is there"}
		}
		return nil
	})
}

func TestLeavesNothing(t *testing.T) {
	cluster := runner(t)

	t.Run("down", func(t *testing.T) {
		l, w := deployed(t, cluster)
		left := exec.Command(cluster, "exec", "--dir", string(l), "--", "sleep", "600")
		if err := left.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = left.Wait() }()
		eventually(t, "waiting for COMMAND to enter the network", func() []string {
			name, _ := os.Readlink(networkNamespace(left.Process.Pid))
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", left.Process.Pid))
			if w.namespaces[name] && bytes.HasPrefix(line, []byte("sleep")) {
				return nil
			}
			return []string{"it is outside"}
		})
		must(t, "", cluster, "down", "--dir", string(l))
		w.nothingLeft(t)
		w.noDirectory(t)
	})

	t.Run("process 1 killed", func(t *testing.T) {
		l, w := deployed(t, cluster)
		s, err := l.state()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(s.Init, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.nothingLeft(t)
		if log := tail(l.log("init"), 3); !strings.Contains(log, "CRASH") {
			t.Errorf("the crash is not in the log:\n%s", log)
		}
	})

	t.Run("supervisor killed, then up again", func(t *testing.T) {
		l, w := deployed(t, cluster)
		s, err := l.state()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(s.Supervisor, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// The kernel ends everything, but nobody is left to remove the cgroups, which are empty.
		eventually(t, "waiting for the end of all processes", func() []string {
			var alive []string
			for _, trace := range w.traces(t) {
				if !strings.HasPrefix(trace, "cgroup") {
					alive = append(alive, trace)
				}
			}
			return alive
		})
		must(t, "", cluster, "up", "--dir", string(l))
		must(t, "", cluster, "down", "--dir", string(l))
		w.nothingLeft(t)
		w.noDirectory(t)
	})

	for name, signal := range map[string]syscall.Signal{"run interrupted": syscall.SIGINT, "run killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			l := shortDir(t)
			run := exec.Command(cluster, "run", "--dir", string(l), "--", "sleep", "600")
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- run.Wait() }()
			eventually(t, "waiting for COMMAND", func() []string {
				for _, pid := range pids(t) {
					line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
					if parent(pid) == run.Process.Pid && string(line) == "sleep\x00600\x00" {
						return nil
					}
				}
				return []string{"it does not run"}
			})
			w := newWitness(t, l)
			if len(w.traces(t)) == 0 {
				t.Fatal("a running cluster shows no traces")
			}
			if err := run.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			<-ended
			if want := 128 + int(signal); signal == syscall.SIGINT && run.ProcessState.ExitCode() != want {
				t.Errorf("ended with %v, want exit status %d", run.ProcessState, want)
			}
			w.nothingLeft(t)
			w.noDirectory(t)
		})
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	cluster := runner(t)
	must(t, "", cluster, "build")
	l := shortDir(t)
	up := exec.Command(cluster, "up", "--dir", string(l))
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "waiting for a component", func() []string {
		if _, err := os.Stat(l.log(etcd)); err != nil {
			return []string{err.Error()}
		}
		return nil
	})
	w := newWitness(t, l)
	if err := up.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait()
	if up.ProcessState.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit status 130", up.ProcessState)
	}
	w.nothingLeft(t)
	w.noDirectory(t)
}

// TestFailureSaysWhy gives the runner an etcd that fails.
func TestFailureSaysWhy(t *testing.T) {
	cluster := runner(t)
	must(t, "", cluster, "build")
	built, err := openCache()
	if err != nil {
		t.Fatal(err)
	}
	home := string(shortDir(t))
	must(t, "", "cp", "-r", filepath.Dir(built.dir), home)
	broken := filepath.Join(home, strings.TrimPrefix(built.path(kubernetesArtefact), filepath.Dir(filepath.Dir(built.dir))))
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such disk >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(cluster, "run", "--control-plane-only", "--", "true")
	run.Env = append(os.Environ(), "XDG_CACHE_HOME="+home)
	output, err := run.CombinedOutput()
	if err == nil || !bytes.Contains(output, []byte("etcd ended by itself (exit status 3)")) || !bytes.Contains(output, []byte("no such disk")) {
		t.Errorf("%v: the output does not say what failed and why:\n%s", err, output)
	}
}

func TestRunReturnsTheStatusOfItsCommand(t *testing.T) {
	cluster := runner(t)
	run := exec.Command(cluster, "run", "--control-plane-only", "--", "kubectl", "get", "namespace", "none")
	output, _ := run.CombinedOutput()
	if run.ProcessState.ExitCode() != 1 || !bytes.Contains(output, []byte("NotFound")) {
		t.Errorf("%v\n%s", run.ProcessState, output)
	}
}

func TestRunEndsWhatItsCommandLeft(t *testing.T) {
	cluster := runner(t)
	const left = "sleep\x00600.25\x00"
	must(t, "", cluster, "run", "--control-plane-only", "--", "setsid", "--fork", "sleep", "600.25")
	for _, pid := range pids(t) {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(line) == left {
			t.Errorf("process %d is left", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func TestImageLoadedWhileRunning(t *testing.T) {
	cluster := runner(t)
	l := shortDir(t)
	must(t, "", cluster, "up", "--dir", string(l))
	program := filepath.Join(t.TempDir(), "misbehave")
	build := exec.Command("go", "build", "-o", program, "../../misbehave")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	// The reference that it prints is by digest, and a pod can use it.
	reference := strings.TrimSpace(must(t, "", cluster, "image", "load", "--dir", string(l),
		"--env", "EXIT_AFTER_SECONDS=0", "--env", "EXIT_CODE=7", "registry.local/quits:1", program))
	kubectl := func(args ...string) string {
		return must(t, "", append([]string{cluster, "exec", "--dir", string(l), "--", "kubectl"}, args...)...)
	}
	kubectl("run", "quits", "--image="+reference, "--restart=Never")
	kubectl("wait", "pod/quits", "--for=jsonpath={.status.phase}=Failed", "--timeout="+patience.String())
	state := kubectl("get", "pod", "quits", "-o", "jsonpath={.status.containerStatuses[0].state.terminated}")
	for _, want := range []string{`"exitCode":7`, `"message":"fatal: no database"`} {
		if !strings.Contains(state, want) {
			t.Errorf("no %s in %s", want, state)
		}
	}
}

func TestTwoClustersAtOnce(t *testing.T) {
	cluster := runner(t)
	first, w := deployed(t, cluster)
	second := shortDir(t)
	must(t, "", cluster, "up", "--control-plane-only", "--dir", string(second))
	if pods := must(t, "", cluster, "exec", "--dir", string(second), "--", "kubectl", "get", "pods", "-A", "-o", "name"); pods != "" {
		t.Errorf("the second cluster has the pods of the first:\n%s", pods)
	}
	must(t, "", cluster, "down", "--dir", string(second))
	if len(w.traces(t)) == 0 {
		t.Error("the end of the second cluster ended the first")
	}
	must(t, "", cluster, "exec", "--dir", string(first), "--", "kubectl", "get", "nodes")
	must(t, "", cluster, "down", "--dir", string(first))
}

func TestFaultsOfTheAPIServer(t *testing.T) {
	cluster := runner(t)
	l := shortDir(t)
	must(t, "", cluster, "up", "--control-plane-only", "--dir", string(l))
	order := func(action string) { must(t, "", cluster, "apiserver", action, "--dir", string(l)) }
	answers := func() error {
		return exec.Command(cluster, "exec", "--dir", string(l), "--", "kubectl", "get", "--raw=/readyz", "--request-timeout=2s").Run()
	}
	for _, fault := range []struct{ begin, end string }{{"pause", "resume"}, {"stop", "start"}} {
		order(fault.begin)
		if answers() == nil {
			t.Errorf("the API server answers after %s", fault.begin)
		}
		order(fault.end)
		if err := answers(); err != nil {
			t.Errorf("the API server does not answer after %s: %v", fault.end, err)
		}
	}
	order("restart")
	if err := answers(); err != nil {
		t.Errorf("the API server does not answer after restart: %v", err)
	}
	if log, _ := os.ReadFile(l.log("init")); bytes.Contains(log, []byte("CRASH")) {
		t.Errorf("a fault that was asked for is reported as a crash:\n%s", log)
	}
	audit, err := os.ReadFile(l.log("audit"))
	if err != nil || !bytes.Contains(audit, []byte(`"verb":"watch"`)) || bytes.Contains(audit, []byte("ResponseStarted")) {
		t.Errorf("the audit log is not as documented: %v", err)
	}
}

func TestWithoutRoot(t *testing.T) {
	cluster := runner(t)
	nobody := uint32(65534)
	home := string(shortDir(t))
	as := func(command ...string) string {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + home}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
		}
		return string(output)
	}
	// The user gets the runner and what root has built; building takes a module cache, which this user has not.
	must(t, "", cluster, "build", "--kwok")
	c, err := openCache()
	if err != nil {
		t.Fatal(err)
	}
	must(t, "", "cp", "-r", filepath.Dir(c.dir), home)
	must(t, "", "cp", cluster, home)
	must(t, "", "chown", "-R", "65534:65534", home)
	cluster = filepath.Join(home, "cluster")

	l := layout(filepath.Join(home, "c"))
	t.Cleanup(func() {
		if err := down(l); err != nil {
			t.Log(err)
		}
	})
	if up := as(cluster, "up", "--dir", string(l)); !strings.Contains(up, "SIMULATED") {
		t.Errorf("it does not say that pods are simulated: %s", up)
	}
	if written, _ := os.ReadFile(l.in("mode")); string(written) != "simulated\n" {
		t.Errorf("DIR/mode says %q", written)
	}
	if err := os.WriteFile(filepath.Join(home, "web.yaml"), []byte(podinfoDeployment), 0o644); err != nil {
		t.Fatal(err)
	}
	as(cluster, "exec", "--dir", string(l), "--", "kubectl", "apply", "-f", filepath.Join(home, "web.yaml"))
	as(cluster, "exec", "--dir", string(l), "--", "kubectl", "wait", "deployment/web", "--for=condition=Available", "--timeout="+patience.String())
	s, err := l.state()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Init, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w := witness{layout: l}
	w.nothingLeft(t)
	as(cluster, "down", "--dir", string(l))
	w.noDirectory(t)
}
