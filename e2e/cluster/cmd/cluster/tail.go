package main

// Quoting the end of a log in an error.

import (
	"os"
	"strings"
)

// tail returns the last lines of a file, or nothing if it cannot be read.
func tail(path string, count int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
