// Command misbehave is an application that misbehaves on demand: by environment variables from its start on, and by
// HTTP requests while it runs. Tests deploy it to see what becomes of a faulty revision.
//
// Environment:
//
//	PORT                where it listens, 8080 by default
//	VERSION             what it says its version is
//	READY               "false": it is not ready until told so
//	START_SECONDS       how long it waits before it listens
//	EXIT_AFTER_SECONDS  when it exits by itself
//	EXIT_CODE           with which status it does, 1 by default
//	EXIT_MESSAGE        what it says before it exits, "fatal: no database" by default
//	ALLOCATE_MIB        memory that it takes at its start, more than its limit to be killed
//	ERROR_PERCENT       how many of 100 requests to / it answers with 500
//	DELAY_MS            how long it takes to answer a request to /
//
// Requests:
//
//	GET  /                        {"pod": HOST, "version": VERSION}
//	GET  /ready                   200 or 503
//	GET  /healthz                 200
//	GET  /metrics                 http_requests_total by code and http_request_duration_seconds, for Prometheus
//	POST /ready?value=false       what GET /ready answers from now on
//	POST /exit?code=3             exit, as with EXIT_AFTER_SECONDS
//	POST /allocate?mib=200        take memory
//	POST /errors?percent=50       as ERROR_PERCENT
//	POST /delay?ms=100            as DELAY_MS
package main

import (
	"cmp"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	// A test should not wait for a grace period.
	go func() {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
		<-ended
		os.Exit(0)
	}()
	host, _ := os.Hostname()
	a := &application{
		host:    host,
		version: os.Getenv("VERSION"),
		message: cmp.Or(os.Getenv("EXIT_MESSAGE"), "fatal: no database"),
	}
	a.ready.Store(os.Getenv("READY") != "false")
	a.errorPercent.Store(int64(number("ERROR_PERCENT", 0)))
	a.delayMillis.Store(int64(number("DELAY_MS", 0)))
	a.allocate(number("ALLOCATE_MIB", 0))
	if seconds := number("EXIT_AFTER_SECONDS", -1); seconds >= 0 {
		time.AfterFunc(time.Duration(seconds)*time.Second, func() { a.exit(number("EXIT_CODE", 1)) })
	}
	time.Sleep(time.Duration(number("START_SECONDS", 0)) * time.Second)
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8080"), a.routes()))
}

// number returns an environment variable that must be a whole number if it is set.
func number(variable string, fallback int) int {
	value := os.Getenv(variable)
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s=%q is no whole number\n", variable, value)
		os.Exit(2)
	}
	return n
}
