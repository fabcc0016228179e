package main

// Tests of the key of the cache, of what is read from go.mod, and of the progress.

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeSource returns a cache on a small source tree.
func fakeSource(t *testing.T) *cache {
	t.Helper()
	c := &cache{source: t.TempDir()}
	for name, content := range map[string]string{
		"go.mod":             "module x\n\nrequire (\n\tk8s.io/kubernetes v1.35.0\n\tk8s.io/api v0.35.0 // indirect\n)\n",
		"go.sum":             "sums",
		"kubernetes/main.go": "package main",
	} {
		path := filepath.Join(c.source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestKeyDependsOnAllThatIsBuilt(t *testing.T) {
	for _, changed := range []string{"go.mod", "go.sum", "kubernetes/main.go"} {
		c := fakeSource(t)
		before, err := c.key(kubernetesArtefact)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := c.key(kubernetesArtefact); again != before {
			t.Fatalf("the key of the same source is %s and then %s", before, again)
		}
		file, err := os.OpenFile(filepath.Join(c.source, changed), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(file, "\n// changed\n")
		file.Close()
		if after, _ := c.key(kubernetesArtefact); after == before {
			t.Errorf("a change of %s would not be built", changed)
		}
	}
}

func TestKeyDependsOnTags(t *testing.T) {
	c := fakeSource(t)
	tagged := kubernetesArtefact
	tagged.tags = "other"
	before, err := c.key(kubernetesArtefact)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := c.key(tagged); after == before {
		t.Error("a change of the tags would not be built")
	}
}

func TestVersionComesFromGoMod(t *testing.T) {
	arguments, err := fakeSource(t).arguments(kubernetesArtefact, "out")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(arguments, " ")
	for _, want := range []string{"gitVersion=v1.35.0", "gitMajor=1", "gitMinor=35", "-o out"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
}

func TestPinnedVersion(t *testing.T) {
	file := filepath.Join(fakeSource(t).source, "go.mod")
	if version, err := pinnedVersion(file, "k8s.io/api"); err != nil || version != "v0.35.0" {
		t.Errorf("%q, %v", version, err)
	}
	if _, err := pinnedVersion(file, "k8s.io/none"); err == nil || !strings.Contains(err.Error(), "k8s.io/none") {
		t.Errorf("error %v does not name the module", err)
	}
}

func TestModulesOfCRDsArePinned(t *testing.T) {
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range crdModules {
		if _, err := pinnedVersion(filepath.Join(source, "tools", m.pins, "go.mod"), m.module); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProgressCountsPackages(t *testing.T) {
	p := &progress{name: "kubernetes", total: 4}
	// Output arrives in pieces that do not end with lines.
	for _, piece := range []string{"k8s.io/api/co", "re/v1\nfmt\n# k8s.io/brok", "en\nfile.go:1:2: no such thing\nk8s.io/", "client-go/rest\n"} {
		if n, err := p.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if text := p.text(); !strings.Contains(text, "kubernetes: 3 of at most 4 packages") {
		t.Errorf("shown as %q", text)
	}
	if messages := p.messages(); !strings.Contains(messages, "no such thing") || strings.Contains(messages, "client-go") {
		t.Errorf("the compiler's complaints are given as %q", messages)
	}
}

func TestExplainGivesTheCommand(t *testing.T) {
	err := explain([]finding{{"ctr", "containerd"}, {"runc", "runc"}, {"containerd", "containerd"}, {"overlay", ""}})
	if err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends containerd runc") {
		t.Errorf("error %v has not the right command", err)
	}
	if err := explain(nil); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
}
