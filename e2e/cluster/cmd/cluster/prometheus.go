package main

// The addon prometheus: the prometheus-operator, which makes a configuration of ServiceMonitors, PodMonitors and
// PrometheusRules, and Prometheus, which runs by it.
//
// In a cluster the operator also runs Prometheus, as pods of an image, with a sidecar that brings it the configuration.
// Here Prometheus is a process, and a second one of ours does what the sidecar does.

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// prometheusModule is where Prometheus and promtool come from, and prometheusPins where its version is pinned. Debian's
// are built without the discovery of Kubernetes.
const (
	prometheusModule = "github.com/prometheus/prometheus"
	prometheusPins   = "tools/prometheus"
)

// prometheusTags leave out the discovery of all but Kubernetes, and with it the libraries of two dozen clouds.
const prometheusTags = "remove_all_sd,enable_kubernetes_sd"

var (
	prometheusOperatorArtefact = artefact{
		name: prometheusOperator, module: "tools/prometheus-operator",
		pkg: "github.com/prometheus-operator/prometheus-operator/cmd/operator",
	}
	prometheusArtefact = artefact{
		name: prometheus, module: prometheusPins, pkg: prometheusModule + "/cmd/prometheus", tags: prometheusTags,
	}
	promtoolArtefact = artefact{
		name: "promtool", module: prometheusPins, pkg: prometheusModule + "/cmd/promtool", tags: prometheusTags,
	}
)

// Ports on the address of the node.
const (
	prometheusPort         = 9090
	prometheusOperatorPort = 9091
)

// prometheusNamespace is where the objects of the addon are.
const prometheusNamespace = "kube-system"

// prometheusObjects ask the operator for the configuration of a Prometheus that takes everything, and for no pods of it.
const prometheusObjects = `apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: testbed, namespace: ` + prometheusNamespace + `}
spec:
  replicas: 0
  version: $VERSION
  scrapeInterval: 2s
  evaluationInterval: 2s
  serviceMonitorSelector: {}
  serviceMonitorNamespaceSelector: {}
  podMonitorSelector: {}
  podMonitorNamespaceSelector: {}
  ruleSelector: {}
  ruleNamespaceSelector: {}
  apiserverConfig:
    host: $SERVER
    tlsConfig: {caFile: $PKI/ca.crt, certFile: $PKI/prometheus.crt, keyFile: $PKI/prometheus.key}
`

// What the operator calls the things that it makes of the object.
const (
	prometheusConfigSecret = "prometheus-testbed"
	prometheusConfigKey    = "prometheus.yaml.gz"
	prometheusRules        = "prometheus-testbed-rulefiles-0"
	prometheusRulesPath    = "/etc/prometheus/rules/"
)

func prometheusAddon() addon {
	return addon{
		artefacts:  []artefact{prometheusOperatorArtefact, prometheusArtefact},
		crds:       "prometheus-operator",
		install:    installPrometheus,
		components: prometheusComponents,
		ready: func(ctx context.Context, _ *site) error {
			return answers(prometheusURL("/-/ready"))(ctx)
		},
	}
}

func prometheusURL(path string) string {
	return fmt.Sprintf("http://%s:%d%s", nodeAddress, prometheusPort, path)
}

func installPrometheus(ctx context.Context, s *site) error {
	pinned, err := pinnedVersion(filepath.Join(s.cache.source, prometheusPins, "go.mod"), prometheusModule)
	if err != nil {
		return err
	}
	version, err := prometheusVersion(pinned)
	if err != nil {
		return err
	}
	if err := issueClient(s.layout, identity{name: prometheus, groups: []string{"system:masters"}}); err != nil {
		return err
	}
	dir := s.layout.in(prometheus)
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o755); err != nil {
		return err
	}
	// Until the operator has made the real one.
	empty := filepath.Join(dir, "prometheus.yaml")
	if _, err := os.Stat(empty); err != nil {
		if err := os.WriteFile(empty, []byte("{}\n"), 0o644); err != nil {
			return err
		}
	}
	objects := strings.NewReplacer("$SERVER", s.config.server(), "$PKI", s.layout.pki(), "$VERSION", version)
	return s.apply(ctx, objects.Replace(prometheusObjects))
}

// prometheusVersion returns what Prometheus calls the version of its module: v0.313.5 is v3.13.5.
func prometheusVersion(module string) (string, error) {
	var minor, patch int
	if _, err := fmt.Sscanf(module, "v0.%d.%d", &minor, &patch); err != nil || minor < 300 {
		return "", fmt.Errorf("the version %s of %s is not of the form v0.313.5", module, prometheusModule)
	}
	return fmt.Sprintf("v%d.%d.%d", minor/100, minor%100, patch), nil
}

// issueClient writes the certificate of a client, unless it is there.
func issueClient(l layout, who identity) error {
	if _, err := os.Stat(l.in("pki", who.name+".crt")); err == nil {
		return nil
	}
	ca, err := loadAuthority(l.pki(), "ca")
	if err != nil {
		return err
	}
	pair, err := ca.issue(who)
	if err != nil {
		return err
	}
	return pair.write(l.pki(), who.name)
}

func prometheusComponents(s *site) ([]component, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := s.layout.in(prometheus)
	return []component{
		{
			name: prometheusOperator, binary: s.cache.path(prometheusOperatorArtefact),
			args: []string{
				"--apiserver=" + s.config.server(), "--ca-file=" + s.layout.in("pki", "ca.crt"),
				"--cert-file=" + s.layout.in("pki", prometheus+".crt"), "--key-file=" + s.layout.in("pki", prometheus+".key"),
				"--web.listen-address=" + nodeAddress + ":" + strconv.Itoa(prometheusOperatorPort),
			},
		},
		{
			name: prometheus, binary: s.cache.path(prometheusArtefact),
			args: []string{
				"--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
				"--storage.tsdb.retention.time=2h", "--web.enable-lifecycle",
				"--web.listen-address=" + nodeAddress + ":" + strconv.Itoa(prometheusPort),
			},
		},
		{name: prometheusReloader, binary: self, args: []string{prometheusReloader, string(s.layout)}},
	}, nil
}

// runPrometheusReloader brings Prometheus what the operator makes for it, for as long as it runs.
func runPrometheusReloader(args []string) error {
	if len(args) != 1 {
		return errors.New(prometheusReloader + " is started by `cluster addon prometheus start`")
	}
	s, err := newSite(layout(args[0]))
	if err != nil {
		return err
	}
	for {
		if err := s.reload(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		time.Sleep(time.Second)
	}
}

// reload writes what the operator has made, and tells Prometheus where that is not what it has.
func (s *site) reload(ctx context.Context) error {
	wanted, err := s.prometheusFiles(ctx)
	if err != nil {
		return err
	}
	dir := s.layout.in(prometheus)
	changed := false
	for name, text := range wanted {
		path := filepath.Join(dir, name)
		if had, err := os.ReadFile(path); err == nil && bytes.Equal(had, text) {
			continue
		}
		changed = true
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "rules", "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if _, ok := wanted[filepath.Join("rules", filepath.Base(path))]; !ok {
			changed = true
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	// A Prometheus that was started anew reads it by itself.
	if !changed {
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, prometheusURL("/-/reload"), nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("Prometheus refused its configuration: %s %s", response.Status, said)
	}
	return nil
}

// prometheusFiles returns what Prometheus is to read, by its path in its directory.
func (s *site) prometheusFiles(ctx context.Context) (map[string][]byte, error) {
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	in := "/api/v1/namespaces/" + prometheusNamespace
	if err := s.client.do(ctx, http.MethodGet, in+"/secrets/"+prometheusConfigSecret, nil, &secret); err != nil {
		return nil, err
	}
	packed, err := gzip.NewReader(bytes.NewReader(secret.Data[prometheusConfigKey]))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(packed)
	if err != nil {
		return nil, err
	}
	rules := s.layout.in(prometheus, "rules") + "/"
	// The variables are those of the sidecar; of one shard the only one has the number 0.
	adapted := strings.NewReplacer("$(POD_NAME)", "testbed", "$(SHARD)", "0",
		prometheusRulesPath+prometheusRules+"/", rules).Replace(string(text))
	files := map[string][]byte{"prometheus.yaml": []byte(adapted)}
	var all struct {
		Data map[string]string `json:"data"`
	}
	var missing *apiError
	err = s.client.do(ctx, http.MethodGet, in+"/configmaps/"+prometheusRules, nil, &all)
	if errors.As(err, &missing) && missing.status == http.StatusNotFound {
		return files, nil // no rules yet
	}
	if err != nil {
		return nil, err
	}
	for name, text := range all.Data {
		files[filepath.Join("rules", name)] = []byte(text)
	}
	return files, nil
}
