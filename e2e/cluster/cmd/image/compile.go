package main

// Building the program so that the result depends on the source and the compilers, and not on where it is built.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// compile builds the program for an architecture and returns where it is.
func (t tools) compile(s source, architecture string) (string, error) {
	triple := targets[architecture].triple
	linker := t.linkers[architecture]
	flags := append([]string{"-C", "target-feature=+crt-static"}, remaps(s)...)
	variable := strings.ToUpper(strings.ReplaceAll(triple, "-", "_"))
	cargo := exec.Command("cargo", "build", "--locked", "--release", "--package", program, "--bin", program, "--target", triple)
	cargo.Dir, cargo.Stdout, cargo.Stderr = s.root, os.Stderr, os.Stderr
	cargo.Env = append(os.Environ(),
		"CARGO_INCREMENTAL=0",
		"CARGO_ENCODED_RUSTFLAGS="+strings.Join(flags, "\x1f"),
		"CARGO_TARGET_"+variable+"_LINKER="+linker,
		"CC_"+strings.ToLower(variable)+"="+linker,
		// C code names its files in messages.
		"CFLAGS_"+strings.ToLower(variable)+"="+strings.Join(prefixMaps(s), " "),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.created.Unix()),
	)
	if t.rustc != "" {
		cargo.Env = append(cargo.Env, "RUSTC="+t.rustc)
	}
	if err := cargo.Run(); err != nil {
		return "", fmt.Errorf("cannot build the operator for %s: %w", architecture, err)
	}
	return filepath.Join(s.metadata.TargetDirectory, triple, "release", program), nil
}

// places are directories of this machine, and what stands for them in a program.
func places(s source) [][2]string {
	home := os.Getenv("CARGO_HOME")
	if home == "" {
		base, _ := os.UserHomeDir()
		home = filepath.Join(base, ".cargo")
	}
	// The compiler takes the last that fits.
	all := [][2]string{{home, "/cargo"}, {s.metadata.TargetDirectory, "/target"}, {s.root, "/source"}}
	if strings.HasPrefix(s.metadata.TargetDirectory, s.root) {
		all = append(all, [2]string{s.metadata.TargetDirectory, "/target"})
	}
	// The directory of a registry is named after its address.
	registries, _ := filepath.Glob(filepath.Join(home, "registry", "src", "*"))
	for _, registry := range registries {
		all = append(all, [2]string{registry, "/cargo/registry"})
	}
	return all
}

func remaps(s source) (flags []string) {
	for _, place := range places(s) {
		flags = append(flags, "--remap-path-prefix="+place[0]+"="+place[1])
	}
	return flags
}

func prefixMaps(s source) (flags []string) {
	for _, place := range places(s) {
		flags = append(flags, "-ffile-prefix-map="+place[0]+"="+place[1])
	}
	return flags
}

// try runs the program, where this machine can: it must say the version that the image will have.
func try(architecture, path, version string) error {
	command := []string{path, "--version"}
	if architecture != runtime.GOARCH {
		emulator := map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[architecture]
		if _, err := exec.LookPath(emulator); err != nil {
			fmt.Fprintf(os.Stderr, "image: the program for %s was not tried, there is no %s: apt-get install qemu-user-static\n", architecture, emulator)
			return nil
		}
		command = append([]string{emulator}, command...)
	}
	said, err := output("", command[0], command[1:]...)
	if err != nil {
		return fmt.Errorf("the program for %s does not start: %w", architecture, err)
	}
	if strings.TrimSpace(string(said)) != program+" "+version {
		return fmt.Errorf("the program for %s says %q, want %q", architecture, said, program+" "+version)
	}
	fmt.Fprintf(os.Stderr, "image: the program for %s starts and says %s", architecture, said)
	return nil
}
