package main

// Loading images into the container runtime of a cluster.

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// importArguments are for containerd's command line client, ctr.
func importArguments(l layout, archive string) []string {
	return []string{"--address", l.containerdSocket(), "--namespace", "k8s.io", "images", "import", archive}
}

// loadImage packs an image, gives it to the container runtime of a running cluster and returns its digest.
func loadImage(l layout, i image) (digest string, err error) {
	c, err := readConfig(l)
	if err != nil {
		return "", err
	}
	if c.Mode != real {
		return "", fmt.Errorf("the cluster in %s is of mode %s and runs no containers: images are not needed", l, c.Mode)
	}
	archive, err := os.CreateTemp(string(l), "image-*.tar")
	if err != nil {
		return "", err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	b := newBundle(archive)
	if digest, err = b.add(i); err != nil {
		return "", err
	}
	if err := b.close(); err != nil {
		return "", err
	}
	ctr, err := lookPath("ctr")
	if err != nil {
		return "", err
	}
	if output, err := exec.Command(ctr, importArguments(l, archive.Name())...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot load the image %s: ctr: %w:\n%s", i.Tags[0], err, output)
	}
	return digest, nil
}

// runImage is `cluster image load`. It prints the reference by digest, under which the image can be used too.
func runImage(args []string) error {
	usage := errors.New("usage: cluster image load [--dir DIR] [--env K=V ...] [--label K=V ...] TAG BINARY [-- ARGS...]")
	flags, dir := newFlags("image load")
	var env, labels pairs
	flags.Var(&env, "env", "set an environment variable, as `KEY=VALUE`; may be repeated")
	flags.Var(&labels, "label", "set a label, as `KEY=VALUE`, so as to get another digest; may be repeated")
	if len(args) == 0 || args[0] != "load" {
		return usage
	}
	positional, rest, err := parse(flags, args[1:])
	if err != nil {
		return err
	}
	if len(positional) < 2 {
		return usage
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	tag := positional[0]
	repository, err := repositoryOf(tag)
	if err != nil {
		return err
	}
	digest, err := loadImage(l, image{
		Tags: []string{tag}, Binary: positional[1], Args: append(positional[2:], rest...), Env: env, Labels: labels,
	})
	if err != nil {
		return err
	}
	fmt.Println(repository + "@" + digest)
	return nil
}

// checkStatic refuses a program that needs a dynamic linker, for an image has none.
func checkStatic(binary string) error {
	program, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("%s cannot be packed as an image: %w", binary, err)
	}
	defer program.Close()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and would not start in an image: build it with CGO_ENABLED=0, or for Rust with a musl target", filepath.Base(binary))
		}
	}
	return nil
}
