package main

// Loading images into the container runtime of a cluster.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"k8s.io/kubernetes/pkg/util/parsers"

	"microservice-operator/e2e/cluster/oci"
)

// importArguments are for containerd's command line client, ctr.
func importArguments(l layout, archive string) []string {
	return []string{"--address", l.containerdSocket(), "--namespace", "k8s.io", "images", "import", archive}
}

// lookedUp is the name under which the kubelet looks for an image: one without a host gets that of the default registry.
func lookedUp(tag string) (string, error) {
	repository, err := oci.RepositoryOf(tag)
	if err != nil {
		return "", err
	}
	completed, _, _, err := parsers.ParseImageName(tag)
	if err != nil {
		return "", err
	}
	return completed + tag[len(repository):], nil
}

// loadImage packs an image, gives it to the container runtime of a running cluster and returns its digest.
func loadImage(l layout, i oci.Image) (digest string, err error) {
	if err := runsContainers(l); err != nil {
		return "", err
	}
	archive, err := os.CreateTemp(string(l), "image-*.tar")
	if err != nil {
		return "", err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	i.Tags = slices.Clone(i.Tags)
	for at, tag := range i.Tags {
		if i.Tags[at], err = lookedUp(tag); err != nil {
			return "", err
		}
	}
	packing := oci.NewArchive(archive, oci.ByTagAndDigest)
	if digest, err = packing.Add(i); err != nil {
		return "", err
	}
	if err := packing.Close(); err != nil {
		return "", err
	}
	return digest, importArchive(l, archive.Name())
}

// runsContainers refuses a cluster that has no container runtime.
func runsContainers(l layout) error {
	c, err := readConfig(l)
	if err != nil {
		return err
	}
	if c.Mode != real {
		return fmt.Errorf("the cluster in %s is of mode %s and runs no containers: images are not needed", l, c.Mode)
	}
	return nil
}

// importArchive gives the images of an archive to the container runtime of a running cluster.
func importArchive(l layout, archive string) error {
	ctr, err := lookPath("ctr")
	if err != nil {
		return err
	}
	if output, err := exec.Command(ctr, importArguments(l, archive)...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot load %s: ctr: %w:\n%s", archive, err, output)
	}
	return nil
}

// runImage is `cluster image`.
func runImage(args []string) error {
	if len(args) > 0 && args[0] == "load" {
		return runImageLoad(args[1:])
	}
	if len(args) > 0 && args[0] == "import" {
		return runImageImport(args[1:])
	}
	return errors.New("usage: cluster image load|import")
}

// runImageImport is `cluster image import`: an archive that somebody else has packed.
func runImageImport(args []string) error {
	flags, dir := newFlags("image import")
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) != 1 || len(rest) > 0 {
		return errors.New("usage: cluster image import [--dir DIR] ARCHIVE")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	if err := runsContainers(l); err != nil {
		return err
	}
	return importArchive(l, positional[0])
}

// runImageLoad is `cluster image load`. It prints the reference by digest, under which the image can be used too.
func runImageLoad(args []string) error {
	flags, dir := newFlags("image load")
	var env, labels pairs
	flags.Var(&env, "env", "set an environment variable, as `KEY=VALUE`; may be repeated")
	flags.Var(&labels, "label", "set a label, as `KEY=VALUE`, so as to get another digest; may be repeated")
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) < 2 {
		return errors.New("usage: cluster image load [--dir DIR] [--env K=V ...] [--label K=V ...] TAG BINARY [-- ARGS...]")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	tag := positional[0]
	repository, err := oci.RepositoryOf(tag)
	if err != nil {
		return err
	}
	digest, err := loadImage(l, oci.Image{
		Tags: []string{tag}, Programs: oci.Here(positional[1]), Args: append(positional[2:], rest...), Env: env, Labels: labels,
	})
	if err != nil {
		return err
	}
	fmt.Println(repository + "@" + digest)
	return nil
}
