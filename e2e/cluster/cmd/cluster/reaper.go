package main

// Starting processes and collecting all that end, orphans included, as process 1 of a namespace has to.

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// reaper starts processes and tells how each ended. A process with another parent that was orphaned is reaped too.
type reaper struct {
	requests chan startRequest
}

type startRequest struct {
	path  string
	argv  []string
	attr  *os.ProcAttr
	reply chan<- started
}

// started is a process and the channel on which its end is told, once.
type started struct {
	pid  int
	end  <-chan syscall.WaitStatus
	fail error
}

func newReaper() *reaper {
	r := &reaper{make(chan startRequest)}
	go r.loop()
	return r
}

// start runs path with argv. The process dies with this one.
func (r *reaper) start(path string, argv []string, attr *os.ProcAttr) started {
	reply := make(chan started, 1)
	r.requests <- startRequest{path, argv, attr, reply}
	return <-reply
}

func (r *reaper) loop() {
	// A parent-death signal is sent when the thread that started the child ends, so this one never does.
	runtime.LockOSThread()
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	ends := map[int]chan<- syscall.WaitStatus{}
	for {
		select {
		case request := <-r.requests:
			process, err := os.StartProcess(request.path, request.argv, request.attr)
			if err != nil {
				request.reply <- started{fail: err}
				continue
			}
			end := make(chan syscall.WaitStatus, 1)
			ends[process.Pid] = end
			request.reply <- started{pid: process.Pid, end: end}
			process.Release()
		case <-children:
			for {
				var status syscall.WaitStatus
				pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
				if err == syscall.EINTR {
					continue
				}
				if err != nil || pid <= 0 {
					break
				}
				if end, ok := ends[pid]; ok {
					end <- status
					delete(ends, pid)
				}
			}
		}
	}
}

// describe says how a process ended.
func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("ended by signal %d, %s", status.Signal(), status.Signal())
	}
	return exitStatus(status.ExitStatus()).Error()
}
