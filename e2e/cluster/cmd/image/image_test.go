package main

// Tests of what is said about an image. They run Cargo, which the project takes anyway, but build nothing.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"microservice-operator/e2e/cluster/oci"
)

// read describes this project.
func read(t *testing.T) source {
	t.Helper()
	t.Chdir("../../../..")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	s, err := readSource()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBillOfMaterials(t *testing.T) {
	s := read(t)
	tools := tools{compiler: "rustc 1.0.0", libraries: []library{{"glibc", "2", "pkg:deb/debian/libc6-dev@2?arch=amd64"}}}
	digest := "sha256:" + strings.Repeat("a", 64)
	data, err := billOfMaterials(s, tools, "registry.local/a", digest, []string{"amd64", "arm64"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := billOfMaterials(s, tools, "registry.local/a", digest, []string{"amd64", "arm64"})
	if err != nil || string(again) != string(data) {
		t.Errorf("two bills of the same image differ: %v", err)
	}
	var document billDocument
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	found := map[string]component{}
	for _, c := range document.Components {
		if _, twice := found[c.Ref]; twice {
			t.Errorf("%s is there twice", c.Ref)
		}
		found[c.Ref] = c
		found[c.Name] = c
	}
	for _, name := range []string{"kube", "rustls", "ring", "tokio", "glibc", "rust-std", program} {
		if found[name].Version == "" || len(found[name].Licenses) == 0 {
			t.Errorf("%s is not there with its version and licence: %+v", name, found[name])
		}
	}
	if hashes := found["kube"].Hashes; len(hashes) != 1 || len(hashes[0].Content) != 64 {
		t.Errorf("kube has the hashes %v", hashes)
	}
	// Of tests, of builds, of the compiler's plug-ins, of other systems.
	for _, name := range []string{"insta", "proptest", "e2e", "cc", "syn", "windows-sys"} {
		if _, there := found[name]; there {
			t.Errorf("%s is there, and is not linked", name)
		}
	}
	on := map[string][]string{}
	for _, d := range document.Dependencies {
		if _, known := found[d.Ref]; !known && d.Ref != document.Metadata.Component.Ref {
			t.Errorf("%s depends on something and is no component", d.Ref)
		}
		on[d.Ref] = d.DependsOn
		for _, to := range d.DependsOn {
			if _, known := found[to]; !known {
				t.Errorf("%s depends on %s, which is no component", d.Ref, to)
			}
		}
	}
	if !slices.Contains(on[found["kube-client"].Ref], found["kube-core"].Ref) {
		t.Errorf("kube-client depends on %v", on[found["kube-client"].Ref])
	}
	if len(on) != len(document.Components)+1 {
		// glibc depends on nothing that is linked.
		for _, c := range document.Components {
			if _, there := on[c.Ref]; !there && c.Name != "glibc" {
				t.Errorf("nothing is said of what %s depends on", c.Ref)
			}
		}
	}
}

func TestImageTellsWhatItIs(t *testing.T) {
	s := read(t)
	if !s.created.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("it is of %v, want what SOURCE_DATE_EPOCH says", s.created)
	}
	i := s.image("registry.local/a", oci.Here("/bin/true"), oci.Gzip)
	for _, want := range []string{
		"org.opencontainers.image.title=microservice-operator", "org.opencontainers.image.licenses=Apache-2.0",
		"org.opencontainers.image.version=" + s.version, "org.opencontainers.image.created=2023-11-14T22:13:20Z",
		"org.opencontainers.image.revision=" + s.revision,
	} {
		if !slices.Contains(i.Labels, want) {
			t.Errorf("there is no label %s: %q", want, i.Labels)
		}
	}
	if len(i.Files) != 1 || len(i.Files[0].Content) < 1000 {
		t.Error("the licence is not in the image")
	}
}

func TestPlacesAreMappedInnermostLast(t *testing.T) {
	t.Setenv("CARGO_HOME", "/home/me/.cargo")
	s := source{root: "/work"}
	s.metadata.TargetDirectory = "/work/target"
	flags := remaps(s)
	whole, inner := slices.Index(flags, "--remap-path-prefix=/work=/source"), slices.Index(flags, "--remap-path-prefix=/work/target=/target")
	last := inner
	for at, flag := range flags {
		if strings.Contains(flag, "/work/target=") {
			last = at
		}
	}
	if whole < 0 || last < whole {
		t.Errorf("the target directory is not mapped after the workspace that it is in: %q", flags)
	}
}

func TestOutsideOfGitTheTimeMustBeGiven(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	s := source{root: t.TempDir()}
	if err := s.readCommit(); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("the error is %v", err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	if err := s.readCommit(); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("the error is %v", err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "5")
	if err := s.readCommit(); err != nil || s.revision != "unknown" {
		t.Errorf("revision %s, error %v", s.revision, err)
	}
}

func TestProgramThatSaysAnotherVersionIsRefused(t *testing.T) {
	script := filepath.Join(t.TempDir(), "says")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho microservice-operator 1.0.0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := try(runtime.GOARCH, script, "1.0.0"); err != nil {
		t.Error(err)
	}
	if err := try(runtime.GOARCH, script, "1.0.1"); err == nil || !strings.Contains(err.Error(), "want") {
		t.Errorf("the error is %v", err)
	}
	if err := try(runtime.GOARCH, filepath.Join(t.TempDir(), "none"), "1"); err == nil {
		t.Error("a program that is not there started")
	}
}

func TestVersionsOfPackages(t *testing.T) {
	p := debianPackages{addresses: []string{"libc6-dev_2.36-9+deb12u14_arm64.deb", "libllvm22_1%3a22.1.8_amd64.deb"}}
	for _, c := range []struct{ name, architecture, want string }{
		{"libc6-dev", "arm64", "2.36-9+deb12u14"}, {"libc6-dev", "amd64", "unknown"}, {"libllvm22", "amd64", "1:22.1.8"},
	} {
		if got := p.version(c.name, c.architecture); got != c.want {
			t.Errorf("%s for %s has version %s, want %s", c.name, c.architecture, got, c.want)
		}
	}
}

func TestOnlyKnownArchitecturesAreTaken(t *testing.T) {
	if got, err := parseArchitectures("arm64,amd64,arm64"); err != nil || strings.Join(got, " ") != "amd64 arm64" {
		t.Errorf("%q, %v", got, err)
	}
	for _, list := range []string{"", "amd64,", "riscv64"} {
		if _, err := parseArchitectures(list); err == nil {
			t.Errorf("%q was taken", list)
		}
	}
}
