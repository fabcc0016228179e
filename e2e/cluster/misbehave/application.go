package main

// What the application answers, and how it can be made to fail.

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// terminationLog is where Kubernetes looks for the last words of a container.
const terminationLog = "/dev/termination-log"

// application is the state that requests change.
type application struct {
	host, version, message string

	ready                     atomic.Bool
	errorPercent, delayMillis atomic.Int64
	answers                   metrics

	mutex sync.Mutex
	held  [][]byte
}

func (a *application) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", a.root)
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	routes.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { a.answers.write(w) })
	routes.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, a.ready.Load())
	})
	routes.HandleFunc("POST /ready", func(w http.ResponseWriter, r *http.Request) {
		value, err := strconv.ParseBool(r.FormValue("value"))
		if err != nil {
			http.Error(w, "give ?value=true or ?value=false", http.StatusBadRequest)
			return
		}
		a.ready.Store(value)
	})
	routes.HandleFunc("POST /exit", numbered("code", func(w http.ResponseWriter, code int) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush() // the asker deserves an answer
		a.exit(code)
	}))
	routes.HandleFunc("POST /allocate", numbered("mib", func(_ http.ResponseWriter, mib int) { a.allocate(mib) }))
	routes.HandleFunc("POST /errors", numbered("percent", func(_ http.ResponseWriter, n int) { a.errorPercent.Store(int64(n)) }))
	routes.HandleFunc("POST /delay", numbered("ms", func(_ http.ResponseWriter, n int) { a.delayMillis.Store(int64(n)) }))
	return routes
}

// numbered returns a handler that takes one number from the query.
func numbered(name string, do func(http.ResponseWriter, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue(name))
		if err != nil || n < 0 {
			http.Error(w, fmt.Sprintf("give a number: ?%s=1", name), http.StatusBadRequest)
			return
		}
		do(w, n)
	}
}

func (a *application) root(w http.ResponseWriter, _ *http.Request) {
	begin := time.Now()
	time.Sleep(time.Duration(a.delayMillis.Load()) * time.Millisecond)
	code := http.StatusOK
	if rand.Int64N(100) < a.errorPercent.Load() {
		code = http.StatusInternalServerError
	}
	a.answers.count(code, time.Since(begin))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"pod": a.host, "version": a.version})
}

// allocate takes memory for good. Every page is written to, for memory that was not touched is not counted.
func (a *application) allocate(mib int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for range mib {
		block := make([]byte, 1<<20)
		for page := 0; page < len(block); page += 4096 {
			block[page] = 1
		}
		a.held = append(a.held, block)
	}
}

// exit says why, to the log and to Kubernetes, and ends the process.
func (a *application) exit(code int) {
	fmt.Fprintln(os.Stderr, a.message)
	_ = os.WriteFile(terminationLog, []byte(a.message), 0o644)
	os.Exit(code)
}
