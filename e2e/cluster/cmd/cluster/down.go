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
	if s, err := l.state(); err == nil {
		network, err := os.Open(networkNamespace(s.Init))
		if err == nil {
			defer network.Close()
		}
		if err := syscall.Kill(s.Supervisor, syscall.SIGTERM); err != nil {
			return fmt.Errorf("cannot end the cluster in %s (process %d): %w", l, s.Supervisor, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), downTime)
		defer cancel()
		if err := until(ctx, fmt.Sprintf("waiting for the end of the cluster in %s", l), l.free); err != nil {
			return err
		}
		if own, err := os.Stat(networkNamespace(os.Getpid())); network != nil && err == nil {
			if theirs, err := network.Stat(); err == nil && !os.SameFile(own, theirs) || isolated(l) {
				killInNetwork(network)
			}
		}
	} else if l.running() {
		return err
	}
	return l.clearAndRemove()
}
