package main

// Tests of what requests change.

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// server starts an application that is ready.
func server(t *testing.T) (call func(method, path string) (int, string)) {
	t.Helper()
	a := &application{host: "web-1", version: "1.0.0"}
	a.ready.Store(true)
	s := httptest.NewServer(a.routes())
	t.Cleanup(s.Close)
	return func(method, path string) (int, string) {
		t.Helper()
		request, err := http.NewRequest(method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := s.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
}

func TestRootNamesPodAndVersion(t *testing.T) {
	call := server(t)
	if status, body := call("GET", "/"); status != 200 || body != `{"pod":"web-1","version":"1.0.0"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
}

func TestReadinessIsSwitched(t *testing.T) {
	call := server(t)
	for _, step := range []struct {
		value string
		want  int
	}{{"false", 503}, {"true", 200}} {
		call("POST", "/ready?value="+step.value)
		if status, _ := call("GET", "/ready"); status != step.want {
			t.Errorf("after %s: %d, want %d", step.value, status, step.want)
		}
	}
	if status, _ := call("POST", "/ready?value=perhaps"); status != 400 {
		t.Errorf("nonsense is answered with %d", status)
	}
}

func TestErrorsAreCounted(t *testing.T) {
	call := server(t)
	call("GET", "/")
	call("POST", "/errors?percent=100")
	if status, _ := call("GET", "/"); status != 500 {
		t.Errorf("%d, though all requests are to fail", status)
	}
	_, metrics := call("GET", "/metrics")
	for _, want := range []string{
		`http_requests_total{code="200"} 1`, `http_requests_total{code="500"} 1`,
		`http_request_duration_seconds_bucket{le="+Inf"} 2`, "http_request_duration_seconds_count 2",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

func TestNumbersAreChecked(t *testing.T) {
	call := server(t)
	for _, path := range []string{"/exit", "/exit?code=x", "/allocate?mib=-1"} {
		if status, _ := call("POST", path); status != 400 {
			t.Errorf("%s is answered with %d", path, status)
		}
	}
}
