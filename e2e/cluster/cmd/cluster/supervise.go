package main

// The process outside of the namespaces: it starts init, and when that ends, however it ends, removes what the kernel
// does not remove by itself.

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// leashFile is the reading end of a pipe whose writing end `cluster run` holds: when it closes, the cluster goes.
const leashFile = reportFile + 1

// reportReady is the line by which init says that the cluster is ready.
const reportReady = "ready"

// runSupervise holds the lock of the directory, as init does.
func runSupervise(args []string) error {
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	leashed := flags.Bool("leashed", false, "end and remove the cluster when the leash is closed")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return errors.New("supervise is started by `cluster up`")
	}
	l := layout(flags.Arg(0))
	c, err := readConfig(l)
	if err != nil {
		return err
	}
	closeOnExec(reportFile, leashFile)
	// The parent-death signal of init comes when this thread ends; the main one ends with the process.
	runtime.LockOSThread()

	// Components that outlive init for a moment become children of this process, so that it can wait for them. With
	// a process namespace there are none.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}

	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	init, network, err := startInit(l, c)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- init.Wait() }()
	leash := make(chan struct{})
	if *leashed {
		go func() {
			_, _ = os.NewFile(leashFile, "leash").Read(make([]byte, 1))
			close(leash)
		}()
	}

	select {
	case err := <-ended:
		log.Printf("CRASH: the cluster ended by itself: %v", err)
	case <-asked:
		log.Print("ending the cluster as asked")
		_ = init.Process.Kill()
		<-ended
	case <-leash:
		log.Print("ending the cluster, since `cluster run` ended")
		_ = init.Process.Kill()
		<-ended
	}
	waitForOrphans()
	if *leashed {
		// What COMMAND left in the background has lost its network.
		if network != nil {
			killInNetwork(network)
		}
		return l.clearAndRemove()
	}
	return removeCgroups(l.id())
}

// startInit starts init with namespaces of its own if the cluster is to be isolated, and writes the state down. The
// returned file pins the network namespace; without isolation it is nil.
func startInit(l layout, c config) (*exec.Cmd, *os.File, error) {
	init := exec.Command("/proc/self/exe", "init", string(l))
	init.Args[0] = "cluster"
	init.Stdout, init.Stderr = os.Stdout, os.Stderr
	report := os.NewFile(reportFile, "report")
	init.ExtraFiles = []*os.File{os.NewFile(lockFile, "lock"), report}
	init.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.Isolated {
		init.SysProcAttr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET
	}
	if err := init.Start(); err != nil {
		err = fmt.Errorf("cannot start a process in namespaces of its own: %w", err)
		fmt.Fprintln(report, err)
		return nil, nil, err
	}
	report.Close() // so that its reader sees the end when init ends
	if err := l.writeState(state{Supervisor: os.Getpid(), Init: init.Process.Pid}); err != nil {
		return nil, nil, err
	}
	network, err := openNetwork(init.Process.Pid, os.Getpid())
	return init, network, err
}

// waitForOrphans returns when this process has no children any more. Those of an init without namespaces were told
// to die with it.
func waitForOrphans() {
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
			return
		}
	}
}

// closeOnExec keeps inherited files from being passed on. The lock is passed on deliberately: it is held until the
// last process of the cluster is gone.
func closeOnExec(files ...int) {
	for _, file := range files {
		unix.CloseOnExec(file)
	}
}
