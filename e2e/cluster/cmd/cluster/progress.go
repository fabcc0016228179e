package main

// Showing how far `go build -v` has come.

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress reads the output of `go build -v`, counts the packages in it and shows the count from time to time: on a
// terminal as one line that changes, else as a line every ten seconds.
type progress struct {
	out      io.Writer
	name     string
	total    int
	terminal bool
	begin    time.Time
	quit     chan struct{}
	quitted  sync.WaitGroup

	mutex   sync.Mutex
	partial []byte
	count   int
	other   []string
}

func newProgress(out *os.File, name string, total int) *progress {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	p := &progress{out: out, name: name, total: total, terminal: err == nil, begin: time.Now(), quit: make(chan struct{})}
	every := 10 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	p.quitted.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.quit:
				return
			case <-tick.C:
				p.show()
			}
		}
	})
	return p
}

// Write takes output of `go build -v`.
func (p *progress) Write(data []byte) (int, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.partial = append(p.partial, data...)
	for {
		line, rest, complete := bytes.Cut(p.partial, []byte("\n"))
		if !complete {
			return len(data), nil
		}
		p.partial = rest
		if isPackage(string(line)) {
			p.count++
		} else {
			p.other = append(p.other, string(line))
		}
	}
}

// isPackage tells the path of a package, which `go build -v` prints as it compiles it, from a message.
func isPackage(line string) bool {
	return line != "" && !strings.ContainsAny(line, " \t:#")
}

func (p *progress) show() {
	p.mutex.Lock()
	text := p.text()
	p.mutex.Unlock()
	if p.terminal {
		fmt.Fprintf(p.out, "\r\033[K%s", text)
	} else {
		fmt.Fprintln(p.out, text)
	}
}

// text is the line that is shown. What an earlier build compiled is not compiled again, so the total is an upper
// bound.
func (p *progress) text() string {
	text := fmt.Sprintf("cluster: building %s: %d", p.name, p.count)
	if p.total > 0 {
		text += fmt.Sprintf(" of at most %d", p.total)
	}
	return text + fmt.Sprintf(" packages compiled, %.0f s", time.Since(p.begin).Seconds())
}

// messages returns what was written beside the packages: the compiler's complaints.
func (p *progress) messages() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return strings.Join(append(p.other, string(p.partial)), "\n")
}

func (p *progress) close() {
	close(p.quit)
	p.quitted.Wait()
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}
