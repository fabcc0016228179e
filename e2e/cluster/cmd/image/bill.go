package main

// The bill of materials: what is in the program, in CycloneDX's JSON. It is made from what Cargo says it links, so that
// what only tests and builds take is not in it.

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type billDocument struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     billMetadata `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type billMetadata struct {
	Timestamp string `json:"timestamp"`
	Tools     struct {
		Components []component `json:"components"`
	} `json:"tools"`
	Component component `json:"component"`
}

type component struct {
	Type        string         `json:"type"`
	Ref         string         `json:"bom-ref,omitempty"`
	Name        string         `json:"name"`
	Version     string         `json:"version"`
	Description string         `json:"description,omitempty"`
	Scope       string         `json:"scope,omitempty"`
	Hashes      []hashed       `json:"hashes,omitempty"`
	Licenses    []licensed     `json:"licenses,omitempty"`
	Purl        string         `json:"purl,omitempty"`
	References  []reference    `json:"externalReferences,omitempty"`
	Properties  []billProperty `json:"properties,omitempty"`
}

type hashed struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licensed struct {
	Expression string `json:"expression"`
}

type reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type billProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// crate names a version of a crate. Two of the same name and version from two places are not told apart: there are none.
type crate struct{ name, version string }

func (c crate) ref() string {
	return "pkg:cargo/" + c.name + "@" + strings.ReplaceAll(c.version, "+", "%2B")
}

// billOfMaterials describes an image.
func billOfMaterials(s source, t tools, repository, digest string, architectures []string) ([]byte, error) {
	linked, err := linkedCrates(s.root, architectures)
	if err != nil {
		return nil, err
	}
	lock, err := os.ReadFile(filepath.Join(s.root, "Cargo.lock"))
	if err != nil {
		return nil, err
	}
	own := crate{program, s.version}
	if !linked[own] {
		return nil, fmt.Errorf("cargo tree does not name %s itself", own.name)
	}
	document := billDocument{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6",
		SerialNumber: serialNumber(digest), Version: 1,
	}
	document.Metadata.Timestamp = s.created.Format(time.RFC3339)
	document.Metadata.Tools.Components = []component{
		{Type: "application", Name: "rustc", Version: t.compiler},
		{Type: "application", Name: "go", Version: runtime.Version()},
	}
	image := "pkg:oci/" + program + "@" + strings.ReplaceAll(digest, ":", "%3A") + "?repository_url=" + strings.ReplaceAll(repository, ":", "%3A")
	document.Metadata.Component = component{
		Type: "container", Ref: image, Name: repository, Version: s.version, Description: s.description,
		Licenses: []licensed{{s.license}}, Purl: image, Hashes: []hashed{{"SHA-256", strings.TrimPrefix(digest, "sha256:")}},
		Properties: []billProperty{{"microservice-operator:revision", s.revision}, {"microservice-operator:architectures", strings.Join(architectures, ",")}},
	}
	top := dependency{Ref: image, DependsOn: []string{own.ref()}}
	for _, l := range slices.CompactFunc(t.libraries, func(a, b library) bool { return a.purl == b.purl && a.version == b.version }) {
		ref := l.purl
		if ref == "" {
			ref = l.name + "@" + l.version
		}
		document.Components = append(document.Components, component{Type: "library", Ref: ref, Name: l.name, Version: l.version, Purl: l.purl,
			Licenses: []licensed{{"LGPL-2.1-or-later"}}})
		top.DependsOn = append(top.DependsOn, ref)
	}
	standard := component{Type: "library", Ref: "rust-std", Name: "rust-std", Version: t.compiler, Licenses: []licensed{{"MIT OR Apache-2.0"}}}
	document.Components = append(document.Components, standard)
	top.DependsOn = append(top.DependsOn, standard.Ref)
	document.Dependencies = []dependency{top, {Ref: standard.Ref}}

	checksums := lockedChecksums(string(lock))
	byID := map[string]crate{}
	for _, p := range s.metadata.Packages {
		c := crate{p.Name, p.Version}
		byID[p.ID] = c
		if !linked[c] {
			continue
		}
		delete(linked, c)
		document.Components = append(document.Components, p.component(c, checksums[c]))
	}
	for missing := range linked {
		return nil, fmt.Errorf("cargo metadata does not know %s %s, which is linked", missing.name, missing.version)
	}
	known := map[string]bool{}
	for _, c := range document.Components {
		known[c.Ref] = true
	}
	for _, node := range s.metadata.Resolve.Nodes {
		from := byID[node.ID].ref()
		if !known[from] {
			continue
		}
		on := map[string]bool{}
		for _, dep := range node.Deps {
			if to := byID[dep.Pkg].ref(); known[to] && to != from {
				on[to] = true
			}
		}
		document.Dependencies = append(document.Dependencies, dependency{from, slices.Sorted(maps.Keys(on))})
	}
	slices.SortFunc(document.Components, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	slices.SortFunc(document.Dependencies, func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	data, err := json.MarshalIndent(document, "", "  ")
	return append(data, '\n'), err
}

func (p cratePackage) component(c crate, checksum string) component {
	found := component{Type: "library", Ref: c.ref(), Name: p.Name, Version: p.Version, Scope: "required", Description: p.Description, Purl: c.ref()}
	if p.License != "" {
		// Older crates write alternatives with a slash.
		found.Licenses = []licensed{{strings.ReplaceAll(p.License, "/", " OR ")}}
	}
	if checksum != "" {
		found.Hashes = []hashed{{"SHA-256", checksum}}
	}
	if p.Repository != "" {
		found.References = []reference{{"vcs", p.Repository}}
	}
	return found
}

// linkedCrates are those that Cargo links into the program for any of the architectures.
func linkedCrates(root string, architectures []string) (map[crate]bool, error) {
	linked := map[crate]bool{}
	for _, architecture := range architectures {
		tree, err := output(root, "cargo", "tree", "--locked", "--package", program, "--edges", "normal,no-proc-macro",
			"--target", targets[architecture].triple, "--prefix", "none", "--format", "{p}")
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(strings.TrimSpace(string(tree)), "\n") {
			fields := strings.Fields(line)
			if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
				return nil, fmt.Errorf("cannot read a line of cargo tree: %q", line)
			}
			linked[crate{fields[0], fields[1][1:]}] = true
		}
	}
	if len(linked) == 0 {
		return nil, errors.New("cargo tree names no crate")
	}
	return linked, nil
}

// lockedChecksums are those of Cargo.lock, which Cargo writes with a line for each field.
func lockedChecksums(lock string) map[crate]string {
	checksums := map[crate]string{}
	for _, block := range strings.Split(lock, "[[package]]") {
		fields := map[string]string{}
		for _, line := range strings.Split(block, "\n") {
			if key, value, ok := strings.Cut(line, " = "); ok {
				fields[key] = strings.Trim(value, `"`)
			}
		}
		if fields["checksum"] != "" {
			checksums[crate{fields["name"], fields["version"]}] = fields["checksum"]
		}
	}
	return checksums
}

// serialNumber is a UUID that is made from the digest of the image, so that the same image has the same one.
func serialNumber(digest string) string {
	sum := sha256.Sum256([]byte("bill of materials of " + digest))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8, of one's own making
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
