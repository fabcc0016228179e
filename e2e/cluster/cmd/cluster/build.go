package main

// Building the binaries and images of the cluster into a cache outside of the source tree.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"microservice-operator/e2e/cluster/oci"
)

// artefact is a binary that is built from Go modules.
type artefact struct {
	name string
	// module is the directory of the go.mod, below the source directory.
	module string
	// pkg is what is built; when it is ours, its files are part of the key of the cache.
	pkg string
	// versioned binaries tell their version as Kubernetes does.
	versioned bool
	// tags choose what is built into it, separated by commas.
	tags string
}

// tagging are the arguments that give Go the tags.
func (a artefact) tagging() []string {
	if a.tags == "" {
		return nil
	}
	return []string{"-tags", a.tags}
}

var (
	kubernetesArtefact = artefact{name: "kubernetes", module: ".", pkg: "./kubernetes", versioned: true}
	kwokArtefact       = artefact{name: "kwok", module: "tools/kwok", pkg: "sigs.k8s.io/kwok/cmd/kwok"}
	pauseArtefact      = artefact{name: "pause", module: ".", pkg: "./pause"}
	podinfoArtefact    = artefact{name: "podinfo", module: "tools/podinfo", pkg: "github.com/stefanprodan/podinfo/cmd/podinfo"}
	helm3Artefact      = artefact{name: "helm-3", module: "tools/helm-3", pkg: "helm.sh/helm/v3/cmd/helm"}
	helm4Artefact      = artefact{name: "helm-4", module: "tools/helm-4", pkg: "helm.sh/helm/v4/cmd/helm"}
	krewArtefact       = artefact{name: "validate-krew-manifest", module: "tools/krew", pkg: "sigs.k8s.io/krew/cmd/validate-krew-manifest"}
	misbehaveArtefact  = artefact{name: "misbehave", module: ".", pkg: "./misbehave"}

	// imageArtefacts are what the images of bundledImages hold.
	imageArtefacts = []artefact{pauseArtefact, podinfoArtefact, misbehaveArtefact}

	// toolArtefacts are what tests take without a cluster.
	toolArtefacts = []artefact{promtoolArtefact, helm3Artefact, helm4Artefact, krewArtefact}

	// handedOut is what `cluster tool` gives: also what a test packs as an image under a name of its own.
	handedOut = append(slices.Clone(toolArtefacts), podinfoArtefact)
)

// testVersions are the tags of the images for tests. Their programs say which they are.
var testVersions = []string{"1.0.0", "1.1.0", "2.0.0"}

// cache is where artefacts lie, each in a directory that is named by all that it is made from.
type cache struct {
	dir, source string
	paths       map[string]string
}

// openCache works out where every artefact lies or will lie.
func openCache() (*cache, error) {
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("cannot find a directory for the binaries: %w", err)
	}
	c := &cache{filepath.Join(base, "microservice-operator", "cluster"), source, map[string]string{}}
	for _, a := range slices.Concat(imageArtefacts, addonArtefacts(), toolArtefacts, []artefact{kubernetesArtefact, kwokArtefact}) {
		key, err := c.key(a)
		if err != nil {
			return nil, err
		}
		c.paths[a.name] = filepath.Join(c.dir, a.name+"-"+key, a.name)
	}
	return c, os.MkdirAll(c.dir, 0o755)
}

func (c *cache) path(a artefact) string { return c.paths[a.name] }

// sourceDir returns the directory of the module that this runner was built from.
func sourceDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "..")
	if given := os.Getenv("CLUSTER_SOURCE"); given != "" {
		dir = given
	}
	if _, err := os.Stat(filepath.Join(dir, "kubernetes", "main.go")); err != nil {
		return "", fmt.Errorf("the source of the cluster is not in %q any more: set CLUSTER_SOURCE to the directory e2e/cluster, or build the runner again without -trimpath", dir)
	}
	return dir, nil
}

// key is a hash of all that decides about an artefact.
func (c *cache) key(a artefact) (string, error) {
	hash := sha256.New()
	arguments, err := c.arguments(a, "")
	if err != nil {
		return "", err
	}
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, arguments)
	files := []string{filepath.Join(c.source, a.module, "go.mod"), filepath.Join(c.source, a.module, "go.sum")}
	if strings.HasPrefix(a.pkg, ".") {
		own, err := filepath.Glob(filepath.Join(c.source, a.module, a.pkg, "*.go"))
		if err != nil {
			return "", err
		}
		files = append(files, own...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n", filepath.Base(file), len(data))
		hash.Write(data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// arguments are those of `go build`. The flags are such that packages come from the shared build cache of Go, where
// other builds of the same modules may have put them.
func (c *cache) arguments(a artefact, output string) ([]string, error) {
	flags := "-s -w"
	if a.versioned {
		version, err := pinnedVersion(filepath.Join(c.source, a.module, "go.mod"), "k8s.io/kubernetes")
		if err != nil {
			return nil, err
		}
		numbers := strings.Split(strings.TrimPrefix(version, "v"), ".")
		if len(numbers) != 3 {
			return nil, fmt.Errorf("the version %s of k8s.io/kubernetes is not of the form v1.2.3", version)
		}
		const variable = " -X k8s.io/component-base/version."
		flags += variable + "gitVersion=" + version + variable + "gitMajor=" + numbers[0] + variable + "gitMinor=" + numbers[1]
	}
	return slices.Concat([]string{"build", "-v", "-buildvcs=false", "-o", output}, a.tagging(), []string{"-ldflags", flags, a.pkg}), nil
}

// build builds those of the artefacts that are not there. Another build at the same time is waited for.
func (c *cache) build(wanted []artefact) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, a := range wanted {
		if _, err := os.Stat(c.path(a)); err == nil {
			continue
		}
		if err := c.buildOne(a); err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) lock() (unlock func(), err error) {
	path := filepath.Join(c.dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		fmt.Fprintln(os.Stderr, "cluster: waiting for another build to end")
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

func (c *cache) buildOne(a artefact) error {
	output := c.path(a)
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	arguments, err := c.arguments(a, output+".new")
	if err != nil {
		return err
	}
	begin := time.Now()
	meter := newProgress(os.Stderr, a.name, c.countPackages(a))
	build := c.goCommand(a, arguments...)
	build.Stderr = meter
	err = build.Run()
	meter.close()
	if err != nil {
		return fmt.Errorf("cannot build %s: go %s: %w\n%s", a.name, strings.Join(arguments, " "), err, meter.messages())
	}
	if err := os.Rename(output+".new", output); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "cluster: built %s in %.0f s\n", a.name, time.Since(begin).Seconds())
	return nil
}

// countPackages returns how many packages an artefact consists of; with 0 the progress goes without a total.
func (c *cache) countPackages(a artefact) int {
	list, err := c.goCommand(a, slices.Concat([]string{"list", "-deps"}, a.tagging(), []string{a.pkg})...).Output()
	if err != nil {
		return 0 // the build will say what is wrong
	}
	return bytes.Count(list, []byte("\n"))
}

func (c *cache) goCommand(a artefact, arguments ...string) *exec.Cmd {
	command := exec.Command("go", arguments...)
	command.Dir = filepath.Join(c.source, a.module)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return command
}

// bundledImages are what every cluster has from the start.
func (c *cache) bundledImages() []oci.Image {
	images := []oci.Image{{Tags: []string{pauseImage}, Programs: oci.Here(c.path(pauseArtefact))}}
	for _, version := range testVersions {
		label := []string{"org.opencontainers.image.version=" + version}
		images = append(images,
			oci.Image{Tags: []string{"registry.local/podinfo:" + version}, Programs: oci.Here(c.path(podinfoArtefact)),
				Env: []string{"PODINFO_UI_MESSAGE=" + version}, Labels: label},
			oci.Image{Tags: []string{"registry.local/misbehave:" + version}, Programs: oci.Here(c.path(misbehaveArtefact)),
				Env: []string{"VERSION=" + version}, Labels: label})
	}
	return images
}

// bundle packs the images that every cluster has and returns the path of the archive.
func (c *cache) bundle() (string, error) {
	images := c.bundledImages()
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", images)) // the paths of the binaries tell what is in them
	path := filepath.Join(c.dir, "images-"+hex.EncodeToString(sum[:8])+".tar")
	unlock, err := c.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	archive, err := os.Create(path + ".new")
	if err != nil {
		return "", err
	}
	defer archive.Close()
	b := oci.NewArchive(archive, oci.ByTagAndDigest)
	for _, i := range images {
		if _, err := b.Add(i); err != nil {
			return "", err
		}
	}
	if err := b.Close(); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

func runBuild(args []string) error {
	flags, _ := newFlags("build")
	all := flags.Bool("all", false, "build kwok and the addons too")
	withKwok := flags.Bool("kwok", false, "build kwok too, which plays simulated nodes")
	if positional, rest, err := parse(flags, args); err != nil {
		return err
	} else if len(positional)+len(rest) > 0 {
		return errors.New("usage: cluster build [--kwok] [--all]")
	}
	c, err := openCache()
	if err != nil {
		return err
	}
	wanted := append([]artefact{kubernetesArtefact}, imageArtefacts...)
	if *withKwok || *all || os.Geteuid() != 0 {
		wanted = append(wanted, kwokArtefact)
	}
	if err := c.build(wanted); err != nil {
		return err
	}
	if _, err := c.bundle(); err != nil {
		return err
	}
	if *all {
		for _, name := range sortedNames(addons()) {
			if err := c.buildAddon(addons()[name]); err != nil {
				return err
			}
		}
		if err := c.build(toolArtefacts); err != nil {
			return err
		}
		wanted = append(wanted, slices.Concat(addonArtefacts(), toolArtefacts)...)
	}
	for _, a := range wanted {
		fmt.Println(c.path(a))
	}
	return nil
}

// runTool builds a tool, unless it is there, and prints where it lies.
func runTool(args []string) error {
	i := slices.IndexFunc(handedOut, func(a artefact) bool { return len(args) == 1 && args[0] == a.name })
	if i < 0 {
		names := make([]string, len(handedOut))
		for i, a := range handedOut {
			names[i] = a.name
		}
		return fmt.Errorf("usage: cluster tool %s", strings.Join(names, "|"))
	}
	c, err := openCache()
	if err != nil {
		return err
	}
	if err := c.build(handedOut[i : i+1]); err != nil {
		return err
	}
	fmt.Println(c.path(handedOut[i]))
	return nil
}
