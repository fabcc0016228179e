package main

// Starting a cluster.

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"microservice-operator/e2e/cluster/oci"
)

// upOptions are the flags of `up`, which `run` takes too.
type upOptions struct {
	controlPlaneOnly, simulated, kwok bool
	images                            pairs
}

func (o *upOptions) register(flags *flag.FlagSet) {
	flags.BoolVar(&o.controlPlaneOnly, "control-plane-only", false, "start no node at all")
	flags.BoolVar(&o.simulated, "simulated", false, "let kwok play the node; the only way without root")
	flags.BoolVar(&o.kwok, "kwok", false, "build kwok too, for `cluster node add` beside the real node")
	flags.Var(&o.images, "image", "pack the static binary PATH as an image and load it, as `TAG=PATH`; may be repeated")
}

func (o *upOptions) mode() mode {
	switch {
	case o.controlPlaneOnly:
		return controlPlane
	case o.simulated || os.Geteuid() != 0:
		return simulated
	default:
		return real
	}
}

func runUp(args []string) error {
	flags, dir := newFlags("up")
	var options upOptions
	options.register(flags)
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional)+len(rest) > 0 {
		return errors.New("usage: cluster up [--dir DIR] [--control-plane-only] [--simulated] [--kwok] [--image TAG=BINARY ...]")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	c, err := prepare(options)
	if err != nil {
		return err
	}
	starting, err := start(l, c, nil)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	select {
	case received := <-signals:
		return errors.Join(exitStatus(128+int(received.(syscall.Signal))), down(l))
	case err := <-starting.ready(options):
		if err != nil {
			return fmt.Errorf("%w\nits logs are in %s until `cluster down --dir %s`", err, l.in("log"), l)
		}
		return nil
	}
}

// launched is a cluster that is about to get ready.
type launched struct {
	layout     layout
	config     config
	begin      time.Time
	supervisor *exec.Cmd
	report     io.ReadCloser
}

// start starts a cluster. It outlives the caller, unless leash is given: then it ends when the other end of that pipe
// closes.
func start(l layout, c config, leash *os.File) (*launched, error) {
	begin := time.Now()
	lock, err := l.lock()
	if errors.Is(err, errRunning) {
		return nil, fmt.Errorf("a cluster is running in %s: end it with `cluster down --dir %s`", l, l)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := checkOwner(lock); err != nil {
		return nil, err
	}
	if err := l.lay(c); err != nil {
		return nil, err
	}
	supervisor, report, err := startSupervisor(l, lock, leash)
	return &launched{l, c, begin, supervisor, report}, err
}

// ready returns a channel that tells when pods can be created and the images that were asked for are loaded.
func (s *launched) ready(options upOptions) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.finish(options) }()
	return done
}

func (s *launched) finish(options upOptions) error {
	if err := awaitReady(s.report); err != nil {
		return fmt.Errorf("the cluster in %s did not start: %w", s.layout, err)
	}
	for _, pair := range options.images {
		tag, binary, _ := strings.Cut(pair, "=")
		if _, err := loadImage(s.layout, oci.Image{Tags: []string{tag}, Programs: oci.Here(binary)}); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "cluster: up after %.1f s (%s), KUBECONFIG=%s\n",
		time.Since(s.begin).Seconds(), describeMode(s.config.Mode), s.layout.kubeconfig())
	return nil
}

// describeMode says in a few words what a test may expect.
func describeMode(m mode) string {
	switch m {
	case simulated:
		return "SIMULATED: the control plane is real, but nodes and pods are only pretended by kwok"
	case controlPlane:
		return "control plane only: there is no node"
	default:
		return "real pods on node " + nodeName
	}
}

// prepare builds what is missing and settles how the cluster will run.
func prepare(options upOptions) (config, error) {
	c := config{Mode: options.mode(), Isolated: os.Geteuid() == 0, Ports: fixedPorts}
	wanted := []artefact{kubernetesArtefact}
	if c.Mode == real {
		plugins, err := checkMachine()
		if err != nil {
			return c, err
		}
		c.CNIPlugins = plugins
		wanted = append(wanted, imageArtefacts...)
	}
	if c.Mode == simulated || options.kwok {
		wanted = append(wanted, kwokArtefact)
	}
	cache, err := openCache()
	if err != nil {
		return c, err
	}
	if err := cache.build(wanted); err != nil {
		return c, err
	}
	c.Kubernetes = cache.path(kubernetesArtefact)
	if _, err := os.Stat(cache.path(kwokArtefact)); err == nil {
		c.Kwok = cache.path(kwokArtefact)
	}
	if c.Mode == real {
		c.Images, err = cache.bundle()
		if err != nil {
			return c, err
		}
	}
	if !c.Isolated {
		c.Ports, err = freePorts()
	}
	return c, err
}

// lay clears the directory and fills it with all that the components read.
func (l layout) lay(c config) error {
	if err := l.clear(); err != nil {
		return err
	}
	if err := os.WriteFile(l.marker(), nil, 0o644); err != nil {
		return err
	}
	for _, name := range []string{"log", "bin", "pki", "cni"} {
		if err := os.Mkdir(l.in(name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(c.Kubernetes, l.in("bin", "kubectl")); err != nil {
		return err
	}
	if err := writePKI(l, c.server()); err != nil {
		return err
	}
	return c.write(l)
}

// startSupervisor starts the supervisor in a session of its own, so that a terminal's Ctrl-C does not reach it.
func startSupervisor(l layout, lock, leash *os.File) (*exec.Cmd, io.ReadCloser, error) {
	output, err := os.OpenFile(l.log("init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer output.Close()
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer writing.Close()
	supervisor := exec.Command("/proc/self/exe", "supervise", string(l))
	supervisor.Dir = "/"
	supervisor.ExtraFiles = []*os.File{lock, writing}
	if leash != nil {
		supervisor.Args = []string{"cluster", "supervise", "--leashed", string(l)}
		supervisor.ExtraFiles = append(supervisor.ExtraFiles, leash)
	}
	supervisor.Args[0] = "cluster"
	supervisor.Stdout, supervisor.Stderr = output, output
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := supervisor.Start(); err != nil {
		return nil, nil, err
	}
	return supervisor, reading, nil
}

// awaitReady reads what init has to say: that the cluster is ready, or why it is not.
func awaitReady(report io.ReadCloser) error {
	defer report.Close()
	lines := bufio.NewReader(report)
	line, err := lines.ReadString('\n')
	if line == reportReady+"\n" {
		return nil
	}
	if line == "" {
		return fmt.Errorf("its process 1 ended without a word: %w", err)
	}
	rest, _ := io.ReadAll(lines)
	return errors.New(strings.TrimSpace(line + string(rest)))
}

func init() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
}
