package main

// Running commands inside of a cluster's network.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// runExec becomes COMMAND.
func runExec(args []string) error {
	flags, dir := newFlags("exec")
	positional, command, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) > 0 || len(command) == 0 {
		return errors.New("usage: cluster exec [--dir DIR] -- COMMAND ARGS...")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	path, err := enter(l, command[0])
	if err != nil {
		return err
	}
	err = syscall.Exec(path, command, os.Environ())
	return fmt.Errorf("cannot run %s: %w", path, err)
}

// enter moves this process into the network of a cluster, sets the environment that tells programs of the cluster,
// and returns the path of the command.
func enter(l layout, command string) (string, error) {
	s, err := l.state()
	if err != nil {
		return "", err
	}
	c, err := readConfig(l)
	if err != nil {
		return "", err
	}
	if c.Isolated {
		if err := enterNetwork(s.Init); err != nil {
			return "", err
		}
	}
	for name, value := range clusterEnvironment(l) {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	return exec.LookPath(command)
}

// clusterEnvironment is what commands see of the cluster. Proxies are for the world outside, which is out of reach.
func clusterEnvironment(l layout) map[string]string {
	return map[string]string{
		"KUBECONFIG": l.kubeconfig(),
		dirVariable:  string(l),
		"PATH":       strings.TrimSuffix(l.in("bin")+":"+os.Getenv("PATH"), ":"),
	}
}
