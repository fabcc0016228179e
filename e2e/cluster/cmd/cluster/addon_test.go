package main

// Tests of the addons: what they are made of is there, and nothing of them is left. Those that start clusters run when
// CLUSTER_E2E=1, as root.

import (
	"os"
	"strings"
	"testing"
)

func TestAddonsConsistOfKnownParts(t *testing.T) {
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{layout: "/tmp/x", cache: &cache{dir: "/cache", source: source, paths: map[string]string{}}}
	for _, a := range addonArtefacts() {
		s.cache.paths[a.name] = "/cache/" + a.name
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range addons() {
		if _, ok := crdModules[a.crds]; a.crds != "" && !ok {
			t.Errorf("%s needs the definitions %q, which nobody has", name, a.crds)
		}
		components, err := a.components(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range components {
			// The runner itself is there, and redis comes from the distribution.
			if c.binary != self && c.name != argoRedis && !strings.HasPrefix(c.binary, "/cache/") {
				t.Errorf("%s: %s has the binary %q, which nobody fetches", name, c.name, c.binary)
			}
			if _, ok := componentByAlias(c.name); !ok {
				t.Errorf("%s: no command stops %s", name, c.name)
			}
		}
	}
}

func TestPrometheusIsToldByItsOwnVersion(t *testing.T) {
	if version, err := prometheusVersion("v0.313.5"); err != nil || version != "v3.13.5" {
		t.Errorf("%q, %v", version, err)
	}
	for _, module := range []string{"v3.13.5", "v0.54.1", ""} {
		if version, err := prometheusVersion(module); err == nil {
			t.Errorf("%q was taken for %q", module, version)
		}
	}
}

func TestAddonsLeaveNothing(t *testing.T) {
	cluster := runner(t)
	l := shortDir(t)
	at := func(args ...string) string {
		return must(t, "", append([]string{cluster}, append(args, "--dir", string(l))...)...)
	}
	at("up")
	for _, name := range sortedNames(addons()) {
		at("addon", name, "start")
		at("addon", name, "start") // is no fault
	}
	w := newWitness(t, l)
	for line := range strings.Lines(at("status")) {
		if fields := strings.Fields(line); fields[0] != kwok && fields[1] != string(running) {
			t.Error(line)
		}
	}
	at("addon", "metrics", "stop")
	at("addon", "metrics", "stop")
	// With an API that nobody serves, namespaces would stay for ever.
	kubectl := func(args ...string) {
		must(t, "", append([]string{cluster, "exec", "--dir", string(l), "--", "kubectl"}, args...)...)
	}
	kubectl("create", "namespace", "passing")
	kubectl("delete", "namespace", "passing", "--timeout="+patience.String())
	at("down")
	w.nothingLeft(t)
}
