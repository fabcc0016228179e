package main

// A minimal client of the API server, with what a kubeconfig of this runner holds.

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// apiClient talks to the API server as the administrator.
type apiClient struct {
	server string
	http   *http.Client
}

// newAPIClient makes a client with a certificate of its own, issued by the authority of the cluster.
func newAPIClient(l layout, c config) (*apiClient, error) {
	ca, err := loadAuthority(l.pki(), "ca")
	if err != nil {
		return nil, err
	}
	pair, err := ca.issue(clientIdentities()["admin"])
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.certificate, pair.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	return &apiClient{c.server(), &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		},
	}}, nil
}

// apiError is an answer of the API server that is no success.
type apiError struct {
	method, path string
	status       int
	body         string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s %s: %d %s: %s", e.method, e.path, e.status, http.StatusText(e.status), e.body)
}

// do sends a request, with object as its body unless it is nil, and decodes the answer into result unless it is nil.
func (a *apiClient) do(ctx context.Context, method, path string, object, result any) error {
	var body io.Reader
	if object != nil {
		data, err := json.Marshal(object)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.server+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "cluster-runner")
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return &apiError{method, path, response.StatusCode, string(data)}
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(data, result)
}

// ready is nil when the API server says that it is ready.
func (a *apiClient) ready(ctx context.Context) error {
	return a.do(ctx, http.MethodGet, "/readyz", nil, nil)
}

// defaultServiceAccount is nil when pods can be created in the namespace "default".
func (a *apiClient) defaultServiceAccount(ctx context.Context) error {
	return a.do(ctx, http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/default", nil, nil)
}

// node is what the runner needs to know of a Node.
type node struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   nodeMetadata `json:"metadata"`
	Spec       nodeSpec     `json:"spec,omitzero"`
	Status     nodeStatus   `json:"status,omitzero"`
}

type nodeMetadata struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type nodeSpec struct {
	Taints []struct {
		Key string `json:"key"`
	} `json:"taints,omitempty"`
}

type nodeStatus struct {
	Conditions []struct {
		Type   string `json:"type"`
		Status string `json:"status"`
	} `json:"conditions,omitempty"`
}

// nodeReady is nil when pods can be scheduled to the node.
func (a *apiClient) nodeReady(ctx context.Context, name string) error {
	var n node
	if err := a.do(ctx, http.MethodGet, "/api/v1/nodes/"+name, nil, &n); err != nil {
		return err
	}
	for _, taint := range n.Spec.Taints {
		return fmt.Errorf("node %s has the taint %s", name, taint.Key)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready", name)
}

// until calls check again and again until it returns nil. It gives up when ctx ends, with what was missing last.
func until(ctx context.Context, what string, check func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last seen: %v)", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// exists returns a check that a file is there.
func exists(path string) func(context.Context) error {
	return func(context.Context) error {
		_, err := os.Stat(path)
		return err
	}
}
