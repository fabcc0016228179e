package main

// Ending a cluster and removing what it left.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// downTime is how long the end of a cluster may take.
const downTime = 30 * time.Second

func runDown(args []string) error {
	flags, dir := newFlags("down")
	if positional, rest, err := parse(flags, args); err != nil {
		return err
	} else if len(positional)+len(rest) > 0 {
		return errors.New("usage: cluster down [--dir DIR]")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	return down(l)
}

// down ends the cluster in a directory, if one is there, and removes the directory. Processes that entered the
// cluster's network with `exec` end too, except those that this one descends from.
func down(l layout) error {
	if _, err := os.Stat(string(l)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s, err := l.state()
	if err != nil && l.running() {
		return err
	}
	if err == nil {
		if err := end(l, s); err != nil {
			return err
		}
	}
	return l.clearAndRemove()
}

// end ends a running cluster and waits until nothing of it holds the lock any more.
func end(l layout, s state) error {
	network, err := openNetwork(s.Init, s.Supervisor)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // one of them may have been killed a moment ago
		return err
	}
	err = syscall.Kill(s.Supervisor, syscall.SIGTERM)
	if errors.Is(err, syscall.ESRCH) {
		err = syscall.Kill(s.Init, syscall.SIGKILL) // which a supervisor that was killed a moment ago has told already
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot end the cluster in %s (process %d): %w", l, s.Supervisor, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), downTime)
	defer cancel()
	err = until(ctx, fmt.Sprintf("waiting for the end of the cluster in %s", l), func(context.Context) error {
		if l.running() {
			return errRunning
		}
		return nil
	})
	if err == nil && network != nil {
		killInNetwork(network)
		network.Close()
	}
	return err
}

// clearAndRemove removes the directory of a cluster that runs no more.
func (l layout) clearAndRemove() error {
	if err := l.clear(); err != nil {
		return err
	}
	return os.Remove(string(l))
}
