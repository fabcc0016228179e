package main

// What lies where in the directory of a cluster, and the lock that says that one is running there.

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dirVariable names the environment variable that holds the directory of the cluster; `exec` and `run` set it, so
// that a script in there need not repeat --dir.
const dirVariable = "CLUSTER_DIR"

// Unix sockets have paths of at most 107 bytes, and the longest that lies in DIR is "/containerd.sock.ttrpc".
const longestDir = 80

// layout is the directory of one cluster.
type layout string

func defaultDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("microservice-operator-cluster-%d", os.Getuid()))
}

// newLayout makes path absolute and refuses what cannot work.
func newLayout(path string) (layout, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(absolute) > longestDir {
		return "", fmt.Errorf("the path %s is too long for the Unix sockets in it (%d bytes at most): give a shorter --dir", absolute, longestDir)
	}
	// The path is put unquoted into configuration files and as a whole into `ip -batch`.
	if strings.ContainsAny(absolute, " \t\n\"'\\,") {
		return "", fmt.Errorf("the path %q has a character that configuration files cannot hold: give another --dir", absolute)
	}
	return layout(absolute), nil
}

// in returns the path of something in the directory.
func (l layout) in(parts ...string) string {
	return filepath.Join(append([]string{string(l)}, parts...)...)
}

func (l layout) log(name string) string     { return l.in("log", name+".log") }
func (l layout) kubeconfig() string         { return l.in("kubeconfig") }
func (l layout) containerdSocket() string   { return l.in("containerd.sock") }
func (l layout) controlSocket() string      { return l.in("control.sock") }
func (l layout) marker() string             { return l.in(".cluster") }
func (l layout) pki() string                { return l.in("pki") }
func (l layout) userConfig(n string) string { return l.in(n + ".kubeconfig") }

// id names the cluster where a name must be unique on the machine, such as in the tree of cgroups.
func (l layout) id() string {
	sum := sha256.Sum256([]byte(l))
	return "microservice-operator-" + hex.EncodeToString(sum[:4])
}

// lock takes the directory for this process and for those that inherit the file. It is held for as long as any of
// them lives, however they end.
func (l layout) lock() (*os.File, error) {
	if err := os.MkdirAll(string(l), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Open(string(l))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errRunning
		}
		return nil, fmt.Errorf("cannot lock %s: %w", l, err)
	}
	// `down` may have removed the directory between the opening and the locking.
	opened, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	if there, err := os.Stat(string(l)); err != nil || !os.SameFile(there, opened) {
		file.Close()
		return l.lock()
	}
	return file, nil
}

// checkOwner refuses a directory that someone else may have prepared, for instance in /tmp.
func checkOwner(dir *os.File) error {
	var status unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &status); err != nil {
		return err
	}
	if int(status.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user %d and not to you: give another --dir", dir.Name(), status.Uid)
	}
	return nil
}

// errRunning says that a live cluster holds the lock of its directory.
var errRunning = errors.New("a cluster is running")

// running tells whether a cluster lives in the directory.
func (l layout) running() bool {
	if _, err := os.Stat(string(l)); err != nil {
		return false
	}
	file, err := l.lock()
	if err != nil {
		return errors.Is(err, errRunning)
	}
	file.Close()
	return false
}

// clear removes what an earlier cluster left. It refuses a directory that is not a cluster's.
func (l layout) clear() error {
	entries, err := os.ReadDir(string(l))
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(l.marker()); err != nil {
		return fmt.Errorf("%s is not empty and not the directory of a cluster: give another --dir", l)
	}
	if err := removeCgroups(l.id()); err != nil {
		return err
	}
	for _, entry := range entries {
		// The marker goes last, so that an interrupted clear can be repeated.
		if path := l.in(entry.Name()); path != l.marker() {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return os.Remove(l.marker())
}

// state is what the supervisor writes down for the other commands.
type state struct {
	// Supervisor is the process outside of the namespaces, Init the one that holds them.
	Supervisor, Init int
}

func (l layout) writeState(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeAtomically(l.in("state.json"), data, 0o644)
}

// state returns the processes of a running cluster.
func (l layout) state() (state, error) {
	var s state
	if !l.running() {
		return s, fmt.Errorf("no cluster is running in %s: start one with `cluster up --dir %s`", l, l)
	}
	data, err := os.ReadFile(l.in("state.json"))
	if err != nil {
		return s, fmt.Errorf("the cluster in %s is just starting or ending: %w", l, err)
	}
	return s, json.Unmarshal(data, &s)
}

// writeAtomically writes a file so that a reader sees all of it or nothing.
func writeAtomically(path string, data []byte, mode os.FileMode) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
