package main

// A cluster for the time that one command runs.

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long COMMAND may take to end after a signal was forwarded to it.
const grace = 30 * time.Second

// runRun is up, COMMAND, down. The cluster hangs on a leash: it goes when this process ends, however that happens.
func runRun(args []string) error {
	flags, dir := newFlags("run")
	var options upOptions
	options.register(flags)
	logs := flags.String("logs", "", "copy the logs of the cluster to this new directory before it is removed")
	positional, command, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) > 0 || len(command) == 0 {
		return errors.New("usage: cluster run [--dir DIR] [--logs DIR] [flags of up] -- COMMAND ARGS...")
	}
	c, err := prepare(options)
	if err != nil {
		return err
	}
	// Runs must not meet in a directory, nor be taken for the cluster that this one may be started in.
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "dir" })
	if !given {
		if *dir, err = os.MkdirTemp("", "microservice-operator-run-"); err != nil {
			return err
		}
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	return runLeashed(l, c, options, command, *logs)
}

// runLeashed starts the cluster, runs the command in it and waits until the cluster is gone again.
func runLeashed(l layout, c config, options upOptions, command []string, logs string) (err error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	held, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	cluster, err := start(l, c, held)
	held.Close()
	if err != nil {
		return err
	}
	defer func() {
		if logs != "" {
			err = errors.Join(err, os.CopyFS(logs, os.DirFS(l.in("log"))))
		}
		leash.Close()
		if gone := cluster.supervisor.Wait(); gone != nil {
			err = errors.Join(err, fmt.Errorf("the cluster did not end as it should: %w: `cluster down --dir %s` tries again", gone, l))
		}
	}()

	select {
	case received := <-signals:
		return exitStatus(128 + int(received.(syscall.Signal)))
	case err := <-cluster.ready(options):
		if err != nil {
			return err
		}
	}
	return runForwarding(l, command, signals)
}

// runForwarding runs the command to its end, hands signals on to it, and returns its exit status as an error.
func runForwarding(l layout, command []string, signals <-chan os.Signal) error {
	path, err := enter(l, command[0])
	if err != nil {
		return err
	}
	child := exec.Command(path, command[1:]...)
	child.Args[0] = command[0]
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return fmt.Errorf("cannot run %s: %w", path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	var late <-chan time.Time
	for {
		select {
		case err := <-ended:
			return statusOf(err)
		case received := <-signals:
			// A terminal sends the signals of its keys to the command as well.
			if received != syscall.SIGINT && received != syscall.SIGQUIT || !inForeground() {
				_ = child.Process.Signal(received)
			}
			if received != syscall.SIGUSR1 && received != syscall.SIGUSR2 && late == nil {
				late = time.After(grace)
			}
		case <-late:
			_ = child.Process.Kill()
		}
	}
}

// statusOf turns the end of a command into the exit status that a shell would have.
func statusOf(err error) error {
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	if status := failed.Sys().(syscall.WaitStatus); status.Signaled() {
		return exitStatus(128 + int(status.Signal()))
	}
	return exitStatus(failed.ExitCode())
}

// inForeground tells whether this process is in the group that a terminal's keys send signals to.
func inForeground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
