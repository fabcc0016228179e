package main

// The control socket, on which init takes orders about its components, and the commands that give them.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// actions are what can be done to a component.
var actions = map[string]func(*manager, string) error{
	"start":   (*manager).start,
	"stop":    (*manager).stop,
	"restart": (*manager).restart,
	"pause":   (*manager).pause,
	"resume":  (*manager).resume,
}

func (m *manager) restart(name string) error {
	if err := m.stop(name); err != nil {
		return err
	}
	return m.start(name)
}

// serveControl answers on the control socket for as long as the process lives.
func serveControl(m *manager) error {
	listener, err := net.Listen("unix", m.layout.controlSocket())
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /components", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(m.conditions())
	})
	routes.HandleFunc("POST /components/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.act(r.Context(), r.PathValue("name"), r.PathValue("action")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	serveRegistrations(routes, m)
	routes.HandleFunc("POST /nodes/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.addNode(r.Context(), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	routes.HandleFunc("DELETE /nodes/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.removeNode(r.Context(), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return http.Serve(listener, routes)
}

// act does something to a component. An API server that was started is awaited, for whoever asked needs it.
func (m *manager) act(ctx context.Context, name, action string) error {
	do, ok := actions[action]
	if !ok {
		return fmt.Errorf("%q is nothing that can be done to %s: %s", action, name, strings.Join(sortedNames(actions), ", "))
	}
	if err := do(m, name); err != nil {
		return err
	}
	if name != apiserver || action == "stop" || action == "pause" {
		return nil
	}
	client, err := newAPIClient(m.layout, m.config)
	if err != nil {
		return err
	}
	return until(ctx, "waiting for the API server", client.ready)
}

// order sends a request to the control socket of a cluster and returns the answer.
func order(l layout, method, path string) ([]byte, error) {
	return send(l, method, path, nil)
}

// sendOrder is an order with an object as its body.
func sendOrder(l layout, method, path string, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = send(l, method, path, bytes.NewReader(data))
	return err
}

func send(l layout, method, path string, body io.Reader) ([]byte, error) {
	if _, err := l.state(); err != nil {
		return nil, err
	}
	client := http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.controlSocket())
		}},
	}
	request, err := http.NewRequest(method, "http://cluster"+path, body)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the cluster in %s takes no orders: %w", l, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

// runComponent does something to one component of a running cluster.
func runComponent(name string, args []string) error {
	flags, dir := newFlags(name)
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) != 1 || len(rest) > 0 {
		return fmt.Errorf("usage: cluster %s %s [--dir DIR]", name, strings.Join(sortedNames(actions), "|"))
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	_, err = order(l, http.MethodPost, "/components/"+name+"/"+positional[0])
	return err
}

// runStatus lists the components with their states.
func runStatus(args []string) error {
	flags, dir := newFlags("status")
	if positional, rest, err := parse(flags, args); err != nil {
		return err
	} else if len(positional)+len(rest) > 0 {
		return errors.New("usage: cluster status [--dir DIR]")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	answer, err := order(l, http.MethodGet, "/components")
	if err != nil {
		return err
	}
	var conditions map[string]condition
	if err := json.Unmarshal(answer, &conditions); err != nil {
		return err
	}
	for _, name := range sortedNames(conditions) {
		fmt.Fprintf(os.Stdout, "%-24s %s\n", name, conditions[name])
	}
	return nil
}
