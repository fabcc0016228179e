package main

// The components of a running cluster and their states: started, stopped or paused on purpose, or crashed.

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// condition is the state of a component.
type condition string

const (
	stopped condition = "stopped" // never started, or ended on purpose
	running condition = "running"
	paused  condition = "paused"
	crashed condition = "crashed"
)

// manager starts and ends components. Its methods may be called concurrently.
type manager struct {
	layout     layout
	config     config
	components map[string]component
	reaper     *reaper
	// onCrash is called when a component ended that nobody stopped.
	onCrash func(error)

	mutex     sync.Mutex
	processes map[string]*process
}

// process is a component as it runs, or ran last.
type process struct {
	pid       int
	condition condition
	gone      chan struct{}
}

func newManager(l layout, c config, r *reaper) *manager {
	return &manager{
		layout: l, config: c, components: components(l, c), reaper: r,
		onCrash:   func(error) {},
		processes: map[string]*process{},
	}
}

// environment is what components get to see: nothing of the caller's, whose proxies and credentials would make the
// cluster depend on where it runs.
func (m *manager) environment() []string {
	return []string{"PATH=" + toolPath, "HOME=" + string(m.layout), "TMPDIR=" + os.TempDir()}
}

// start runs a component if it does not run.
func (m *manager) start(name string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	component, ok := m.components[name]
	if !ok {
		return fmt.Errorf("this cluster has no %s: it was started in mode %s with other flags of `cluster up`, or without the addon", name, m.config.Mode)
	}
	if p := m.processes[name]; p != nil && (p.condition == running || p.condition == paused) {
		return nil
	}
	end, pid, err := m.launch(component)
	if err != nil {
		return err
	}
	p := &process{pid: pid, condition: running, gone: make(chan struct{})}
	m.processes[name] = p
	log.Printf("%s: started", name)
	go m.watch(name, p, end)
	return nil
}

// launch starts a process whose output goes to the log of its name.
func (m *manager) launch(c component) (end <-chan syscall.WaitStatus, pid int, err error) {
	path, err := lookPath(c.binary)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", c.name, err)
	}
	output, err := os.OpenFile(m.layout.log(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, 0, err
	}
	defer output.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, 0, err
	}
	defer null.Close()
	child := m.reaper.start(path, append([]string{c.name}, c.args...), &os.ProcAttr{
		Dir:   string(m.layout),
		Env:   laidOver(m.environment(), c.env),
		Files: []*os.File{null, output, output},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if child.fail != nil {
		return nil, 0, fmt.Errorf("cannot start %s: %w", c.name, child.fail)
	}
	return child.end, child.pid, nil
}

// watch waits for the end of a process and says so if nobody asked for it.
func (m *manager) watch(name string, p *process, end <-chan syscall.WaitStatus) {
	status := <-end
	m.mutex.Lock()
	asked := p.condition == stopped
	if !asked {
		p.condition = crashed
	}
	m.mutex.Unlock()
	close(p.gone)
	if asked {
		log.Printf("%s: stopped as asked", name)
		return
	}
	output := m.layout.log(name)
	err := fmt.Errorf("%s ended by itself (%s), see %s:\n%s", name, describe(status), output, tail(output, 5))
	log.Print("CRASH: ", err)
	m.onCrash(err)
}

// stop kills a component outright, as a machine that fails would, and waits until it is gone.
func (m *manager) stop(name string) error {
	m.mutex.Lock()
	p, err := m.live(name)
	if err == nil {
		p.condition = stopped
		err = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	m.mutex.Unlock()
	if err != nil {
		return err
	}
	<-p.gone
	return nil
}

// pause stops a component in its tracks: its connections stay open and nothing answers.
func (m *manager) pause(name string) error { return m.signal(name, syscall.SIGSTOP, paused) }

// resume lets a paused component go on.
func (m *manager) resume(name string) error { return m.signal(name, syscall.SIGCONT, running) }

func (m *manager) signal(name string, signal syscall.Signal, next condition) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	p, err := m.live(name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(p.pid, signal); err != nil {
		return fmt.Errorf("cannot send %s to %s: %w", signal, name, err)
	}
	p.condition = next
	log.Printf("%s: %s as asked", name, next)
	return nil
}

// live returns a component that runs or is paused. The caller holds the mutex.
func (m *manager) live(name string) (*process, error) {
	p := m.processes[name]
	if p == nil || (p.condition != running && p.condition != paused) {
		return nil, fmt.Errorf("%s does not run: `cluster %s start` starts it", name, name)
	}
	return p, nil
}

// conditions returns the state of every component.
func (m *manager) conditions() map[string]condition {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	all := map[string]condition{}
	for name := range m.components {
		all[name] = stopped
		if p := m.processes[name]; p != nil {
			all[name] = p.condition
		}
	}
	return all
}

// tool runs a short-lived program to its end; its output goes to the log of its name.
func (m *manager) tool(ctx context.Context, name string, args ...string) error {
	end, pid, err := m.launch(component{name: name, binary: name, args: args})
	if err != nil {
		return err
	}
	select {
	case status := <-end:
		if status.ExitStatus() != 0 {
			return fmt.Errorf("%s: %s:\n%s", name, describe(status), tail(m.layout.log(name), 5))
		}
		return nil
	case <-ctx.Done():
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return fmt.Errorf("%s was given up: %w", name, context.Cause(ctx))
	}
}

// toolPath is where components and tools are looked for: a user's PATH often lacks the directories of
// administration.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds a program in toolPath; a whole path is taken as it is.
func lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(toolPath) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: `cluster doctor` says how to install it", name)
}

// laidOver returns the variables of base but for those that are in over, and those of over: of two with one name a
// program in Go takes the first.
func laidOver(base, over []string) []string {
	all := slices.DeleteFunc(slices.Clone(base), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.ContainsFunc(over, func(other string) bool { return strings.HasPrefix(other, name+"=") })
	})
	return append(all, over...)
}
