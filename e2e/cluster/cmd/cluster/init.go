package main

// The process that holds a cluster: process 1 of its namespaces where there are some. With it everything ends.

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"
)

// bootTime is how long a cluster may take to get ready, on a slow machine.
const bootTime = 3 * time.Minute

// Files that the supervisor hands to init beside the standard ones. The lock is held by being open.
const (
	lockFile = 3 + iota
	reportFile
)

// runInit is process 1. It reports "ready" or what went wrong and then serves the control socket for as long as the
// cluster lives.
func runInit(args []string) error {
	if len(args) != 1 {
		return errors.New("init is started by `cluster up`")
	}
	closeOnExec(reportFile)
	l := layout(args[0])
	report := os.NewFile(reportFile, "report")
	m, err := boot(l)
	if err != nil {
		fmt.Fprintln(report, err)
		return err
	}
	fmt.Fprintln(report, reportReady)
	report.Close()
	return serveControl(m)
}

// boot starts everything and returns when pods can be created.
func boot(l layout) (*manager, error) {
	c, err := readConfig(l)
	if err != nil {
		return nil, err
	}
	deadline, cancel := context.WithTimeout(context.Background(), bootTime)
	defer cancel()
	ctx, fail := context.WithCancelCause(deadline)
	defer fail(nil)

	m := newManager(l, c, newReaper())
	m.onCrash = fail // a component that crashes now makes waiting pointless
	if c.Isolated {
		if err := isolateMounts(l); err != nil {
			return nil, err
		}
		if err := isolateNetwork(ctx, m); err != nil {
			return nil, err
		}
	}
	client, err := newAPIClient(l, c)
	if err != nil {
		return nil, err
	}

	runtime := make(chan error, 1)
	go func() { runtime <- bootRuntime(ctx, m) }()
	if err := bootControlPlane(ctx, m, client); err != nil {
		return nil, err
	}
	if err := <-runtime; err != nil {
		return nil, err
	}
	if err := bootNode(ctx, m, client); err != nil {
		return nil, err
	}
	log.Print("the cluster is ready")
	return m, nil
}

// bootRuntime starts the container runtime and loads the images of `cluster build`.
func bootRuntime(ctx context.Context, m *manager) error {
	if m.config.Mode != real {
		return nil
	}
	if err := makeCgroups(m.layout.id()); err != nil {
		return err
	}
	if err := m.start(containerd); err != nil {
		return err
	}
	if err := until(ctx, "waiting for containerd", exists(m.layout.containerdSocket())); err != nil {
		return err
	}
	if err := m.start(kubelet); err != nil {
		return err
	}
	return m.tool(ctx, "ctr", importArguments(m.layout, m.config.Images)...)
}

// bootControlPlane starts etcd, the API server and its controllers.
func bootControlPlane(ctx context.Context, m *manager, client *apiClient) error {
	if err := m.start(etcd); err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", m.config.Ports.Etcd)
	if err := until(ctx, "waiting for etcd", listens(address)); err != nil {
		return err
	}
	if err := m.start(apiserver); err != nil {
		return err
	}
	if err := until(ctx, "waiting for the API server", client.ready); err != nil {
		return err
	}
	for _, name := range []string{controllerManager, scheduler} {
		if err := m.start(name); err != nil {
			return err
		}
	}
	return nil
}

// bootNode starts what makes a node and waits until pods can be scheduled to it.
func bootNode(ctx context.Context, m *manager, client *apiClient) error {
	switch m.config.Mode {
	case real:
		if err := m.start(kubeProxy); err != nil {
			return err
		}
	case simulated:
		if err := m.start(kwok); err != nil {
			return err
		}
		if err := client.addSimulatedNode(ctx, nodeName); err != nil {
			return err
		}
	}
	if m.config.Mode != controlPlane {
		ready := func(ctx context.Context) error { return client.nodeReady(ctx, nodeName) }
		if err := until(ctx, "waiting for the node", ready); err != nil {
			return err
		}
	}
	return until(ctx, "waiting for the default service account", client.defaultServiceAccount)
}

// listens returns a check that something accepts connections.
func listens(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}
