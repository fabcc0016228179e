package main

// Simulated nodes, which kwok plays: pods on them are Running without a process.

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// simulatedNodeAnnotation marks the nodes that kwok plays.
const simulatedNodeAnnotation = "kwok.x-k8s.io/node"

// addSimulatedNode creates a node for kwok to play.
func (a *apiClient) addSimulatedNode(ctx context.Context, name string) error {
	return a.do(ctx, http.MethodPost, "/api/v1/nodes", simulatedNode(name), nil)
}

func simulatedNode(name string) node {
	return node{
		APIVersion: "v1", Kind: "Node",
		Metadata: nodeMetadata{
			Name: name,
			Labels: map[string]string{
				"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/zone": nodeZone, "type": "kwok",
			},
			Annotations: map[string]string{simulatedNodeAnnotation: "fake"},
		},
	}
}

// addNode adds a simulated node, starts kwok if need be, and waits until the node is ready.
func (m *manager) addNode(ctx context.Context, name string) error {
	if m.config.Kwok == "" {
		return errors.New("this cluster was started without kwok: start it with `cluster up --kwok`")
	}
	if err := m.start(kwok); err != nil {
		return err
	}
	client, err := newAPIClient(m.layout, m.config)
	if err != nil {
		return err
	}
	if err := client.addSimulatedNode(ctx, name); err != nil {
		return err
	}
	return until(ctx, "waiting for the node", func(ctx context.Context) error { return client.nodeReady(ctx, name) })
}

// removeNode deletes a node; the pods on it are for the controllers of Kubernetes to clear away.
func (m *manager) removeNode(ctx context.Context, name string) error {
	client, err := newAPIClient(m.layout, m.config)
	if err != nil {
		return err
	}
	return client.do(ctx, http.MethodDelete, "/api/v1/nodes/"+name, nil, nil)
}

func runNode(args []string) error {
	flags, dir := newFlags("node")
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	methods := map[string]string{"add": http.MethodPost, "remove": http.MethodDelete}
	if len(positional) != 2 || len(rest) > 0 || methods[positional[0]] == "" {
		return errors.New("usage: cluster node add|remove [--dir DIR] NAME")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	_, err = order(l, methods[positional[0]], "/nodes/"+url.PathEscape(positional[1]))
	return err
}
