package oci

// What a program must be like to start in an image that holds nothing else.

import (
	"debug/elf"
	"fmt"
	"path/filepath"
)

// machines are the architectures that images can be for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkProgram refuses a program that is for another architecture, and one that needs a dynamic linker, for an image has
// none.
func checkProgram(program Program) error {
	file, err := elf.Open(program.Path)
	if err != nil {
		return fmt.Errorf("%s cannot be packed as an image: %w", program.Path, err)
	}
	defer file.Close()
	machine, known := machines[program.Architecture]
	if !known {
		return fmt.Errorf("images are made for amd64 and arm64, not for %q", program.Architecture)
	}
	if file.Machine != machine {
		return fmt.Errorf("%s is a program for %s and not for %s", program.Path, file.Machine, program.Architecture)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and would not start in an image: build it with CGO_ENABLED=0, or for Rust with -C target-feature=+crt-static", filepath.Base(program.Path))
		}
	}
	return nil
}
