package main

// The metrics of the application, in the text format of Prometheus.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// buckets are the upper bounds of the histogram of durations, in seconds.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// metrics counts the answers by their status and duration.
type metrics struct {
	mutex   sync.Mutex
	byCode  map[int]int
	buckets [12]int // one for each bound, and the last for +Inf
	sum     float64
}

func (m *metrics) count(code int, duration time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.byCode == nil {
		m.byCode = map[int]int{}
	}
	m.byCode[code]++
	m.sum += duration.Seconds()
	place, _ := slices.BinarySearch(buckets, duration.Seconds())
	m.buckets[place]++
}

func (m *metrics) write(w io.Writer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	for _, code := range slices.Sorted(maps.Keys(m.byCode)) {
		fmt.Fprintf(w, "http_requests_total{code=\"%d\"} %d\n", code, m.byCode[code])
	}
	fmt.Fprintln(w, "# TYPE http_request_duration_seconds histogram")
	total := 0
	for i, bound := range buckets {
		total += m.buckets[i]
		fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"%g\"} %d\n", bound, total)
	}
	total += m.buckets[len(buckets)]
	fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"+Inf\"} %d\n", total)
	fmt.Fprintf(w, "http_request_duration_seconds_sum %g\nhttp_request_duration_seconds_count %d\n", m.sum, total)
}
