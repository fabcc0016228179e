package main

import (
	"strings"
	"testing"
)

func TestImagesAreFoundByTheirShortNames(t *testing.T) {
	for _, whole := range []string{"registry.local/podinfo:1.0.0", "localhost/podinfo:1.0.0", "localhost:5000/a/podinfo:1.0.0"} {
		if name, err := lookedUp(whole); err != nil || name != whole {
			t.Errorf("%s is looked up as %s (%v)", whole, name, err)
		}
	}
	name, err := lookedUp("example/podinfo:1.0.0")
	if err != nil || !strings.HasSuffix(name, "/example/podinfo:1.0.0") {
		t.Errorf("a name without a host is looked up as %s (%v)", name, err)
	}
	for _, wrong := range []string{"podinfo", "example/podinfo", "example/Podinfo:1.0.0"} {
		if name, err := lookedUp(wrong); err == nil {
			t.Errorf("%s is looked up as %s", wrong, name)
		}
	}
}
