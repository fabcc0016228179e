package main

// The compilers. The Rust that is active here is taken where it has the standard library of every architecture; else
// Debian's, which has them as packages and is unpacked into a cache, without root and without a change to the machine.
// One compiler makes the programs of all architectures.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// target is how compilers call an architecture.
type target struct{ triple, compiler, debian string }

// targets are the architectures that there are images for. All link glibc into the program: it looks names up as the
// pods' resolv.conf says, as on other systems, and needs no file beside it for that.
var targets = map[string]target{
	"amd64": {"x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu libc6-dev-amd64-cross"},
	"arm64": {"aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"},
}

// tools are a Rust compiler and what links its programs.
type tools struct {
	// compiler is its version, origin where it is from, for people.
	compiler, origin string
	// rustc is empty for the one that Cargo takes by itself.
	rustc string
	// linkers are C compilers, by architecture.
	linkers map[string]string
	// libraries are what is linked in beside crates.
	libraries []library
}

// library is a part of the program that is no crate.
type library struct{ name, version, purl string }

// chooseTools finds compilers for all architectures.
func chooseTools(root string, architectures []string) (tools, error) {
	if chosen, err := activeTools(root, architectures); err == nil {
		return chosen, nil
	} else if chosen, problem := debianTools(architectures); problem == nil {
		return chosen, nil
	} else {
		return tools{}, errors.Join(err, problem)
	}
}

// activeTools are those that are installed.
func activeTools(root string, architectures []string) (tools, error) {
	chosen := tools{origin: "as it is installed", linkers: map[string]string{}}
	sysroot, err := output(root, "rustc", "--print", "sysroot")
	if err != nil {
		return chosen, err
	}
	for _, architecture := range architectures {
		t := targets[architecture]
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(sysroot)), "lib/rustlib", t.triple, "lib")); err != nil {
			return chosen, fmt.Errorf("the Rust that is active here has no standard library for %s: where that is allowed, `rustup target add %s`", architecture, t.triple)
		}
		linker := t.compiler
		if architecture == runtime.GOARCH {
			linker = "cc"
		}
		if _, err := exec.LookPath(linker); err != nil {
			return chosen, fmt.Errorf("there is no %s, which links programs for %s: apt-get install %s", linker, architecture, t.debian)
		}
		library, err := staticLibrary(linker)
		if err != nil {
			return chosen, fmt.Errorf("%s has no static C library for %s: apt-get install %s", linker, architecture, t.debian)
		}
		chosen.linkers[architecture] = linker
		chosen.libraries = append(chosen.libraries, glibcOf(library, architecture))
	}
	chosen.compiler, err = compilerVersion(root, "rustc")
	return chosen, err
}

// staticLibrary is the file of the C library that a compiler links into programs.
func staticLibrary(linker string) (string, error) {
	// Without one it answers with the bare name.
	path, err := output("", linker, "-print-file-name=libc.a")
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(strings.TrimSpace(string(path)))
}

// glibcOf says which C library that is, as far as the package manager knows.
func glibcOf(file, architecture string) library {
	found := library{name: "glibc", version: "unknown"}
	owner, err := output("", "dpkg-query", "--search", file)
	if err != nil {
		return found
	}
	name, _, _ := strings.Cut(string(owner), ": ")
	version, err := output("", "dpkg-query", "--show", "--showformat=${Version}", name)
	if err != nil {
		return found
	}
	found.version = string(version)
	name, _, _ = strings.Cut(name, ":")
	found.purl = debianPurl(name, found.version, architecture)
	return found
}

func debianPurl(name, version, architecture string) string {
	return fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", name, strings.ReplaceAll(version, "+", "%2B"), architecture)
}

func compilerVersion(dir, rustc string) (string, error) {
	version, err := output(dir, rustc, "--version")
	return strings.TrimSpace(string(version)), err
}

// debianHost are the packages that run here, with what they depend on; debianTarget those that are linked.
var (
	debianHost   = []string{"rustc-web", "libstd-rust-web-dev"}
	debianTarget = []string{"libstd-rust-web-dev", "libc6-dev", "linux-libc-dev"}
)

// debianTools are Debian's, unpacked into the cache. The package lists and what is downloaded lie there too; the lists
// of what the machine has are only read.
func debianTools(architectures []string) (tools, error) {
	chosen := tools{origin: "from Debian's packages", linkers: map[string]string{}}
	if err := debianPossible(); err != nil {
		return chosen, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return chosen, err
	}
	packages, err := openPackages(filepath.Join(cache, "microservice-operator", "image"), architectures)
	if err != nil {
		return chosen, err
	}
	host := slices.Clone(debianHost)
	var linked []string
	for _, architecture := range architectures {
		for _, name := range debianTarget {
			linked = append(linked, name+":"+architecture)
		}
		if architecture != runtime.GOARCH {
			host = append(host, strings.Fields(targets[architecture].debian)[0])
		}
	}
	root, err := packages.unpack(host, linked)
	if err != nil {
		return chosen, err
	}
	libraries := "LD_LIBRARY_PATH='" + strings.Join([]string{filepath.Join(root, "usr/lib", multiarch(runtime.GOARCH))}, ":") +
		"'${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec"
	if chosen.rustc, err = wrapper(root, "rustc", libraries, filepath.Join(root, "usr/bin/rustc")); err != nil {
		return chosen, err
	}
	for _, architecture := range architectures {
		compiler := targets[architecture].compiler
		real := filepath.Join(root, "usr/bin", compiler)
		if architecture == runtime.GOARCH {
			if real, err = exec.LookPath("gcc"); err != nil {
				return chosen, err
			}
		}
		if chosen.linkers[architecture], err = wrapper(root, compiler, libraries, real, "--sysroot="+root); err != nil {
			return chosen, err
		}
		version := packages.version("libc6-dev", architecture)
		chosen.libraries = append(chosen.libraries, library{"glibc", version, debianPurl("libc6-dev", version, architecture)})
	}
	chosen.compiler, err = compilerVersion("", chosen.rustc)
	return chosen, err
}

// debianPossible says whether Debian's compilers can be unpacked and used here.
func debianPossible() error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("nor can Debian's compilers be taken, there is no %s", program)
		}
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return errors.New("nor can Debian's compilers be taken, there is no gcc beside them: apt-get install gcc libc6-dev")
	}
	return nil
}

// multiarch is the name of the directories in which Debian keeps an architecture's libraries.
func multiarch(architecture string) string {
	return strings.TrimSuffix(targets[architecture].compiler, "-gcc")
}

// wrapper writes a script that runs a program with its own libraries. The name of the cache stays out of what Cargo
// makes its hashes from.
func wrapper(root, name, before string, command ...string) (string, error) {
	dir := filepath.Join(root, "wrappers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for at, word := range command {
		if strings.ContainsRune(word, '\'') {
			return "", fmt.Errorf("the path %s has an apostrophe, which the scripts that run Debian's compilers do not bear: set XDG_CACHE_HOME to another", word)
		}
		command[at] = "'" + word + "'"
	}
	path := filepath.Join(dir, name)
	script := fmt.Sprintf("#!/bin/sh\n%s %s \"$@\"\n", before, strings.Join(command, " "))
	return path, os.WriteFile(path, []byte(script), 0o755)
}

// debianPackages is a state of apt of our own.
type debianPackages struct {
	dir, config string
	architectures,
	// addresses are of what is unpacked; their file names tell the versions.
	addresses []string
}

// openPackages reads the lists of packages from where the machine has its packages from.
func openPackages(dir string, architectures []string) (*debianPackages, error) {
	p := &debianPackages{dir: dir, config: filepath.Join(dir, "apt.conf"), architectures: architectures}
	for _, name := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, "apt", name), 0o755); err != nil {
			return nil, err
		}
	}
	all := slices.Compact(slices.Sorted(slices.Values(append([]string{runtime.GOARCH}, architectures...))))
	// The list of a machine that has another architecture's packages is not valid without it.
	if foreign, err := output("", "dpkg", "--print-foreign-architectures"); err == nil {
		all = append(all, strings.Fields(string(foreign))...)
	}
	settings := fmt.Sprintf("Dir::State %q;\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache %q;\nDebug::NoLocking \"true\";\n"+
		"APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"\";\nAPT::Architectures { \"%s\"; };\n",
		filepath.Join(dir, "apt/state"), filepath.Join(dir, "apt/cache"), strings.Join(all, "\"; \""))
	if err := os.WriteFile(p.config, []byte(settings), 0o644); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "image: reading Debian's lists of packages")
	// A list of somebody else's that cannot be read is no harm: what is missing is named below.
	_, _ = p.apt("", "update", "--quiet")
	return p, nil
}

func (p *debianPackages) apt(dir string, args ...string) ([]byte, error) {
	command := exec.Command("apt-get", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "APT_CONFIG="+p.config, "LC_ALL=C.UTF-8")
	data, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, data)
	}
	return data, nil
}

// unpack returns a directory with packages that run here, with those that they depend on and that the machine lacks, and
// of those that are linked just the named ones.
func (p *debianPackages) unpack(host, linked []string) (string, error) {
	install := append([]string{"install", "--yes", "--reinstall"}, host...)
	listed, err := p.apt("", append(install, "--print-uris")...)
	if err != nil {
		return "", fmt.Errorf("Debian's compilers cannot be had: from bookworm on it has rustc-web with the standard libraries of other architectures: %w", err)
	}
	more, err := p.apt("", append([]string{"download", "--print-uris"}, linked...)...)
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(listed)+string(more), "\n") {
		if strings.HasPrefix(line, "'") {
			p.addresses = append(p.addresses, strings.Fields(line)[1])
		}
	}
	slices.Sort(p.addresses)
	p.addresses = slices.Compact(p.addresses)
	sum := sha256.Sum256([]byte(strings.Join(p.addresses, "\n")))
	root := filepath.Join(p.dir, "debian-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	fmt.Fprintf(os.Stderr, "image: downloading %d packages of Debian\n", len(p.addresses))
	archives := filepath.Join(p.dir, "apt/cache/archives")
	if _, err := p.apt("", append(install, "--download-only")...); err != nil {
		return "", err
	}
	if _, err := p.apt(archives, append([]string{"download"}, linked...)...); err != nil {
		return "", err
	}
	if err := errors.Join(os.RemoveAll(root+".new"), os.MkdirAll(root+".new", 0o755)); err != nil {
		return "", err
	}
	for _, name := range p.addresses {
		if _, err := output("", "dpkg-deb", "--extract", filepath.Join(archives, name), root+".new"); err != nil {
			return "", err
		}
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "apt/cache")); err != nil {
		return "", err
	}
	return root, os.Rename(root+".new", root)
}

// version returns that of a package that was unpacked.
func (p *debianPackages) version(name, architecture string) string {
	for _, file := range p.addresses {
		if parts := strings.Split(strings.TrimSuffix(file, ".deb"), "_"); len(parts) == 3 && parts[0] == name && parts[2] == architecture {
			return strings.ReplaceAll(parts[1], "%3a", ":")
		}
	}
	return "unknown"
}
