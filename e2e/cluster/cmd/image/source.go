package main

// What is built: the crate as Cargo describes it, at a commit.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type source struct {
	// root is the directory of the workspace.
	root, version, description, license, repository string
	licenseText                                     []byte
	// revision is the commit, with -dirty behind it where files differ from it.
	revision string
	// created is when the commit was made, or what SOURCE_DATE_EPOCH says.
	created  time.Time
	metadata metadata
}

// metadata is what `cargo metadata` prints.
type metadata struct {
	Packages []cratePackage `json:"packages"`
	Resolve  struct {
		Nodes []struct {
			ID   string `json:"id"`
			Deps []struct {
				Pkg string `json:"pkg"`
			} `json:"deps"`
		} `json:"nodes"`
	} `json:"resolve"`
	WorkspaceRoot   string `json:"workspace_root"`
	TargetDirectory string `json:"target_directory"`
}

type cratePackage struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Version     string `json:"version"`
	Description string `json:"description"`
	License     string `json:"license"`
	Repository  string `json:"repository"`
	// Source is empty for the packages of the workspace.
	Source string `json:"source"`
}

// readSource describes the workspace around the current directory.
func readSource() (source, error) {
	var s source
	data, err := output("", "cargo", "metadata", "--locked", "--format-version=1")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s.metadata); err != nil {
		return s, fmt.Errorf("cannot read what cargo metadata prints: %w", err)
	}
	s.root = s.metadata.WorkspaceRoot
	for _, p := range s.metadata.Packages {
		if p.Name == program && p.Source == "" {
			s.version, s.description, s.license, s.repository = p.Version, p.Description, p.License, p.Repository
		}
	}
	if s.version == "" {
		return s, fmt.Errorf("the workspace %s has no package %s", s.root, program)
	}
	if s.licenseText, err = os.ReadFile(filepath.Join(s.root, "LICENSE")); err != nil {
		return s, err
	}
	return s, s.readCommit()
}

func (s *source) readCommit() error {
	commit, err := output(s.root, "git", "log", "-1", "--format=%H %ct")
	given := os.Getenv("SOURCE_DATE_EPOCH")
	if err != nil && given == "" {
		return errors.Join(errors.New("what is built is told by its commit; outside of git set SOURCE_DATE_EPOCH, in seconds since 1970"), err)
	}
	s.revision = "unknown"
	seconds := given
	if fields := strings.Fields(string(commit)); err == nil && len(fields) == 2 {
		s.revision = fields[0]
		changes, err := output(s.root, "git", "status", "--porcelain", "--untracked-files=no")
		if err != nil {
			return err
		}
		if len(changes) > 0 {
			s.revision += "-dirty"
		}
		if seconds == "" {
			seconds = fields[1]
		}
	}
	since, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds since 1970", seconds)
	}
	s.created = time.Unix(since, 0).UTC()
	return nil
}

// output runs a command and returns what it wrote to its standard output.
func output(dir, name string, args ...string) ([]byte, error) {
	var problems bytes.Buffer
	command := exec.Command(name, args...)
	command.Dir, command.Stderr = dir, &problems
	data, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, problems.String())
	}
	return data, nil
}
