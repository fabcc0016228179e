package main

// The settings of one cluster and the configuration files that are rendered from them.

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
)

// Addresses inside of the cluster's network namespace. All are from ranges that are reserved for documentation,
// benchmarks or private use, and none is visible outside.
const (
	nodeName                 = "node-1"
	nodeZone                 = "zone-a"
	nodeAddress              = "192.0.2.1"
	podRange                 = "198.18.0.0/16"
	simulatedPodRange        = "198.19.0.0/16"
	serviceRange             = "10.96.0.0/16"
	kubernetesServiceAddress = "10.96.0.1"
	frontProxyName           = "front-proxy-client"
	pauseImage               = "registry.local/pause:1"
)

// mode says how true to life a cluster is. It is written to DIR/mode for tests to skip by.
type mode string

const (
	// real: pods are processes, Services are rules in the kernel.
	real mode = "real"
	// simulated: the control plane is real, nodes and pods are kwok's.
	simulated mode = "simulated"
	// controlPlane: there is no node at all.
	controlPlane mode = "control-plane"
)

// ports are where the components listen.
type ports struct {
	Etcd, EtcdPeer, APIServer, ControllerManager, Scheduler, Kwok int
}

// config is everything that init needs to know; it is written to DIR/config.json.
type config struct {
	Mode mode
	// Isolated says that the cluster has process, mount and network namespaces of its own.
	Isolated bool
	Ports    ports
	// Kubernetes, Kwok and Images are paths of what `cluster build` made. Kwok may be empty.
	Kubernetes, Kwok, Images string
	// CNIPlugins is the directory of the network plugins.
	CNIPlugins string
}

// server returns the address of the API server for everything in the cluster's network namespace.
func (c config) server() string {
	return fmt.Sprintf("https://127.0.0.1:%d", c.Ports.APIServer)
}

// fixedPorts are for a network namespace of one's own.
var fixedPorts = ports{Etcd: 2379, EtcdPeer: 2380, APIServer: 6443, ControllerManager: 10257, Scheduler: 10259, Kwok: 10247}

// freePorts picks ports that nobody listens on at the moment, for a cluster that shares the machine's network.
func freePorts() (ports, error) {
	var p ports
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	// All stay open until all are chosen, so that no two are the same.
	for _, port := range []*int{&p.Etcd, &p.EtcdPeer, &p.APIServer, &p.ControllerManager, &p.Scheduler, &p.Kwok} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, fmt.Errorf("cannot find a free port on 127.0.0.1: %w", err)
		}
		listeners = append(listeners, listener)
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

// write stores the settings and renders the configuration files of the components.
func (c config) write(l layout) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{
		"config.json": string(data),
		"mode":        string(c.Mode) + "\n",
		"audit.yaml":  auditPolicy,
	}
	if c.Mode == real {
		files["containerd.toml"] = renderContainerd(l, c)
		files["cni/10-cluster.conflist"] = renderCNI(l)
		files["kubelet.yaml"] = renderKubelet(l)
		files["resolv.conf"] = "" // there is no DNS in the cluster, and the machine's own is out of reach
	}
	for name, content := range files {
		if err := os.WriteFile(l.in(name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readConfig reads what write wrote.
func readConfig(l layout) (config, error) {
	var c config
	data, err := os.ReadFile(l.in("config.json"))
	if err != nil {
		return c, fmt.Errorf("no cluster in %s: start one with `cluster up --dir %s`: %w", l, l, err)
	}
	return c, json.Unmarshal(data, &c)
}

// auditPolicy makes the API server write one line per request: watches as they begin, since they end when the client
// likes, and all others as they are answered.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  verbs: [watch]
  omitStages: [ResponseStarted, ResponseComplete]
- level: Metadata
  omitStages: [RequestReceived, ResponseStarted]
`

// renderContainerd returns a configuration of version 2, which containerd 1.6 to 2.x read.
func renderContainerd(l layout, c config) string {
	return strings.NewReplacer("$DIR", string(l), "$PAUSE", pauseImage, "$PLUGINS", c.CNIPlugins).Replace(`version = 2
root = "$DIR/containerd/root"
state = "$DIR/containerd/state"

[grpc]
  address = "$DIR/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "$DIR/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  # Without CAP_SYS_RESOURCE runc cannot lower oom_score_adj, and every sandbox fails with "final child's PID".
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$PLUGINS"
    conf_dir = "$DIR/cni"
`)
}

// renderCNI returns the network of the pods: each has a point-to-point link to the node, so that an answer between two
// pods passes the node, where the address of the Service is put back. On a bridge that takes br_netfilter.
func renderCNI(l layout) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "cluster", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {
    "type": "host-local", "dataDir": %q,
    "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, l.in("cni-addresses"), podRange)
}

func renderKubelet(l layout) string {
	return strings.NewReplacer("$DIR", string(l), "$CGROUP", l.id(), "$NODE", nodeAddress).Replace(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$DIR/containerd.sock
authentication: {x509: {clientCAFile: $DIR/pki/ca.crt}, anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
tlsCertFile: $DIR/pki/node.crt
tlsPrivateKeyFile: $DIR/pki/node.key
podLogsDir: $DIR/pods
volumePluginDir: $DIR/kubelet/volume-plugins
resolvConf: $DIR/resolv.conf
# Nobody listens there, so look-ups fail at once; without an address every pod has a warning event.
clusterDNS: [$NODE]
clusterDomain: cluster.local
# All cgroups of the pods lie below this one, so that they can be found and removed.
cgroupRoot: /$CGROUP
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
# Lowering it takes CAP_SYS_RESOURCE.
oomScoreAdj: 0
# The machine's own rules for iptables are none of our business.
makeIPTablesUtilChains: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
maxPods: 200
serializeImagePulls: false
registryPullQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
eventRecordQPS: 0
crashLoopBackOff: {maxContainerRestartPeriod: 20s}
`)
}
