package main

// Tests of the rendered configuration, the command lines, the arguments of commands and the directory.

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestPodNetworkIsValid(t *testing.T) {
	l := layout("/tmp/x")
	var network struct {
		Plugins []struct {
			Type string
			IPAM struct {
				DataDir string
				Ranges  [][]struct{ Subnet string }
			}
		}
	}
	if err := json.Unmarshal([]byte(renderCNI(l)), &network); err != nil {
		t.Fatal(err)
	}
	if got := network.Plugins[0].IPAM.Ranges[0][0].Subnet; got != podRange {
		t.Errorf("pods get addresses from %s", got)
	}
	if !strings.HasPrefix(network.Plugins[0].IPAM.DataDir, string(l)) {
		t.Error("the addresses in use are recorded outside of the cluster's directory, where clusters meet")
	}
}

func TestConfigurationStaysInTheDirectory(t *testing.T) {
	l := layout("/tmp/x")
	for name, content := range map[string]string{
		"containerd": renderContainerd(l, config{CNIPlugins: "/opt/cni/bin"}), "kubelet": renderKubelet(l),
	} {
		if strings.Contains(content, "$") {
			t.Errorf("%s: a variable was not replaced:\n%s", name, content)
		}
		for _, shared := range []string{"/var/", "/run/", "/etc/"} {
			if strings.Contains(content, shared) {
				t.Errorf("%s: the configuration names %s, which other clusters share:\n%s", name, shared, content)
			}
		}
	}
	if !strings.Contains(renderKubelet(l), "cgroupRoot: /"+l.id()+"\n") {
		t.Error("the kubelet does not put the pods below the cgroup that is cleaned up")
	}
}

func TestComponentsByMode(t *testing.T) {
	for m, want := range map[mode][]string{
		real:         {containerd, etcd, apiserver, controllerManager, kubeProxy, scheduler, kubelet},
		simulated:    {etcd, apiserver, controllerManager, scheduler},
		controlPlane: {etcd, apiserver, controllerManager, scheduler},
	} {
		got := sortedNames(components("/tmp/x", config{Mode: m, Ports: fixedPorts}))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", m, got, want)
		}
	}
	if _, ok := components("/tmp/x", config{Mode: simulated, Kwok: "/kwok"})[kwok]; !ok {
		t.Error("kwok was built and is not among the components")
	}
}

func TestAPIServerIsNotOpenToTheMachinesNetwork(t *testing.T) {
	shared := components("/tmp/x", config{Mode: simulated, Ports: fixedPorts})[apiserver]
	if !slices.Contains(shared.args, "--bind-address=127.0.0.1") {
		t.Error("without a network of its own the API server listens on all addresses of the machine")
	}
}

func TestFreePortsDiffer(t *testing.T) {
	p, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	all := []int{p.Etcd, p.EtcdPeer, p.APIServer, p.ControllerManager, p.Scheduler, p.Kwok}
	slices.Sort(all)
	if len(slices.Compact(all)) != 6 || all[0] == 0 {
		t.Errorf("%v are not six ports", all)
	}
}

func TestAliasesNameComponents(t *testing.T) {
	known := components("/tmp/x", config{Mode: real, Kwok: "/kwok"})
	for _, name := range []string{ // of addons
		istiod, envoy, metricsServer, traefik, prometheus, prometheusOperator, prometheusReloader,
		argoRedis, argoRepoServer, argoController,
	} {
		known[name] = component{}
	}
	for _, alias := range componentAliases() {
		name, ok := componentByAlias(alias)
		if _, exists := known[name]; !ok || !exists {
			t.Errorf("%s stands for %q, which is no component", alias, name)
		}
	}
	if _, ok := componentByAlias("up"); ok {
		t.Error("a command passes for a component")
	}
}

func TestParseFindsFlagsAnywhere(t *testing.T) {
	for _, args := range [][]string{
		{"--dir", "/x", "add", "n", "--", "--dir", "/y"},
		{"add", "--dir=/x", "n", "--", "--dir", "/y"},
		{"add", "n", "--dir", "/x", "--", "--dir", "/y"},
	} {
		flags, dir := newFlags("test")
		positional, rest, err := parse(flags, args)
		if err != nil {
			t.Fatal(err)
		}
		if *dir != "/x" || strings.Join(positional, " ") != "add n" || strings.Join(rest, " ") != "--dir /y" {
			t.Errorf("%v: --dir %s, %v, %v", args, *dir, positional, rest)
		}
	}
}

func TestLayoutRefusesWhatCannotWork(t *testing.T) {
	for _, path := range []string{"/tmp/" + strings.Repeat("x", longestDir), "/tmp/with space", "/tmp/with,comma"} {
		if _, err := newLayout(path); err == nil || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%s: error %v does not point to --dir", path, err)
		}
	}
}

func TestClearRefusesAForeignDirectory(t *testing.T) {
	l := layout(t.TempDir())
	if err := os.WriteFile(l.in("thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.clear(); err == nil {
		t.Error("a directory with someone's files was cleared")
	}
	if _, err := os.Stat(l.in("thesis.txt")); err != nil {
		t.Error(err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	l := layout(t.TempDir())
	held, err := l.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.lock(); !errors.Is(err, errRunning) || !l.running() {
		t.Errorf("a held lock was taken again: %v", err)
	}
	held.Close()
	if l.running() {
		t.Error("a lock that was let go is still held")
	}
}

func TestShadowedPaths(t *testing.T) {
	for path, want := range map[string]bool{"/run/x": true, "/var/lib/x": true, "/var/library": false, "/tmp/x": false} {
		if got := isShadowed(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
