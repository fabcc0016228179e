package main

// CustomResourceDefinitions of other projects, read from their modules.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// crdModule says where a module keeps its CustomResourceDefinitions. Its version is pinned in tools/PINS/go.mod.
type crdModule struct {
	pins, module, prefix string
	resources            []string
}

var crdModules = map[string]crdModule{
	"gateway-api": {
		"crds", "sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_",
		// Traefik waits for all of the standard channel that it knows.
		[]string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "tlsroutes", "backendtlspolicies"},
	},
	"prometheus-operator": {
		"crds", "github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd/monitoring.coreos.com_",
		[]string{"servicemonitors", "podmonitors", "probes", "prometheusrules", "prometheuses", "scrapeconfigs"},
	},
	"argo-cd": {"argo-cd", "github.com/argoproj/argo-cd/v3", "manifests/crds/", []string{"application-crd", "applicationset-crd", "appproject-crd"}},
	// All in one file.
	"istio": {"istio", "istio.io/istio", "manifests/charts/base/files/crd-all.gen", []string{""}},
}

func crdNames() []string { return sortedNames(crdModules) }

// runCRDs prints the definitions, for `kubectl apply --server-side -f -`.
func runCRDs(args []string) error {
	if len(args) != 1 || crdModules[args[0]].module == "" {
		return fmt.Errorf("usage: cluster crds %s", strings.Join(crdNames(), "|"))
	}
	definitions, err := definitionsOf(crdModules[args[0]])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(definitions)
	return err
}

// definitionsOf returns the definitions of a module as one stream of YAML.
func definitionsOf(wanted crdModule) ([]byte, error) {
	dir, err := moduleDir(wanted.pins, wanted.module)
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for _, resource := range wanted.resources {
		definition, err := os.ReadFile(filepath.Join(dir, wanted.prefix+resource+".yaml"))
		if err != nil {
			return nil, fmt.Errorf("the module %s has changed its layout: %w", wanted.module, err)
		}
		fmt.Fprintf(&all, "---\n%s\n", bytes.TrimSpace(definition))
	}
	return all.Bytes(), nil
}

// moduleDir downloads a module at its pinned version, unless it was already, and returns where it lies.
func moduleDir(tool, module string) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	pins := filepath.Join(source, "tools", tool)
	version, err := pinnedVersion(filepath.Join(pins, "go.mod"), module)
	if err != nil {
		return "", err
	}
	download := exec.Command("go", "mod", "download", "-json", module+"@"+version)
	download.Dir = pins // go.sum is there
	answer, err := download.Output()
	var result struct{ Dir, Error string }
	if decoding := json.Unmarshal(answer, &result); decoding != nil {
		return "", fmt.Errorf("cannot download %s: %w", module, errors.Join(err, decoding))
	}
	if result.Error != "" {
		return "", fmt.Errorf("cannot download %s: %s", module, result.Error)
	}
	return result.Dir, nil
}

// pinnedVersion returns the version of a module that a go.mod requires.
func pinnedVersion(file, module string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", file, module)
}
