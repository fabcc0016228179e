package main

// The components of a cluster: their names, binaries and command lines.

import (
	"fmt"
	"slices"
	"sort"
)

// component is a process that init starts and watches.
type component struct {
	// name is argv[0] and the name of the log.
	name   string
	binary string
	args   []string
	// env is laid over what all components see.
	env []string
}

// The names of the components.
const (
	etcd              = "etcd"
	apiserver         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	containerd        = "containerd"
	kubelet           = "kubelet"
	kubeProxy         = "kube-proxy"
	kwok              = "kwok"
)

// The names of the components that addons have.
const (
	istiod        = "istiod"
	envoy         = "envoy"
	metricsServer = "metrics-server"
	traefik       = "traefik"

	prometheus         = "prometheus"
	prometheusOperator = "prometheus-operator"
	prometheusReloader = "prometheus-reloader"

	argoRedis      = "argocd-redis"
	argoRepoServer = "argocd-repo-server"
	argoController = "argocd-application-controller"
)

// aliases are the names that the command line takes beside the full ones.
var aliases = map[string]string{
	"apiserver":          apiserver,
	"controller-manager": controllerManager,
	"scheduler":          scheduler,
	"proxy":              kubeProxy,
	etcd:                 etcd,
	containerd:           containerd,
	kubelet:              kubelet,
	kwok:                 kwok,
	istiod:               istiod,
	envoy:                envoy,
	metricsServer:        metricsServer,
	traefik:              traefik,
	prometheus:           prometheus,
	prometheusOperator:   prometheusOperator,
	prometheusReloader:   prometheusReloader,
	argoRedis:            argoRedis,
	argoRepoServer:       argoRepoServer,
	argoController:       argoController,
}

func componentAliases() []string {
	var names []string
	for alias := range aliases {
		names = append(names, alias)
	}
	sort.Strings(names)
	return names
}

// componentByAlias returns the full name of a component.
func componentByAlias(alias string) (string, bool) {
	for short, full := range aliases {
		if alias == short || alias == full {
			return full, true
		}
	}
	return "", false
}

// components returns the command lines of all components of a cluster, by name.
func components(l layout, c config) map[string]component {
	all := map[string]component{}
	add := func(name, binary string, args ...string) {
		all[name] = component{name: name, binary: binary, args: args}
	}
	localURL := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	number := func(flag string, n int) string { return fmt.Sprintf("--%s=%d", flag, n) }

	add(etcd, c.Kubernetes,
		"--data-dir="+l.in("etcd"), "--log-level=warn", "--unsafe-no-fsync",
		"--listen-client-urls="+localURL(c.Ports.Etcd), "--advertise-client-urls="+localURL(c.Ports.Etcd),
		"--listen-peer-urls="+localURL(c.Ports.EtcdPeer), "--initial-advertise-peer-urls="+localURL(c.Ports.EtcdPeer),
		"--initial-cluster=default="+localURL(c.Ports.EtcdPeer),
		"--quota-backend-bytes=4294967296")

	bind := "0.0.0.0" // within the namespace, where pods reach it
	if !c.Isolated {
		bind = "127.0.0.1"
	}
	add(apiserver, c.Kubernetes,
		"--etcd-servers="+localURL(c.Ports.Etcd),
		number("secure-port", c.Ports.APIServer), "--bind-address="+bind, "--advertise-address="+nodeAddress,
		"--tls-cert-file="+l.in("pki", "apiserver.crt"), "--tls-private-key-file="+l.in("pki", "apiserver.key"),
		"--client-ca-file="+l.in("pki", "ca.crt"),
		"--service-account-key-file="+l.in("pki", "service-account.pub"),
		"--service-account-signing-key-file="+l.in("pki", "service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range="+serviceRange,
		"--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
		"--kubelet-certificate-authority="+l.in("pki", "ca.crt"),
		"--kubelet-client-certificate="+l.in("pki", "kubelet-client.crt"),
		"--kubelet-client-key="+l.in("pki", "kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file="+l.in("pki", "front-proxy-ca.crt"),
		"--requestheader-allowed-names="+frontProxyName,
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file="+l.in("pki", "front-proxy-client.crt"),
		"--proxy-client-key-file="+l.in("pki", "front-proxy-client.key"),
		"--enable-aggregator-routing=true",
		"--audit-policy-file="+l.in("audit.yaml"), "--audit-log-path="+l.log("audit"), "--audit-log-maxsize=2000")

	add(controllerManager, c.Kubernetes,
		"--kubeconfig="+l.userConfig("controller-manager"), "--leader-elect=false",
		"--bind-address=127.0.0.1", number("secure-port", c.Ports.ControllerManager),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+l.in("pki", "service-account.key"),
		"--root-ca-file="+l.in("pki", "ca.crt"),
		"--cluster-signing-cert-file="+l.in("pki", "ca.crt"), "--cluster-signing-key-file="+l.in("pki", "ca.key"),
		"--kube-api-qps=200", "--kube-api-burst=400", "--horizontal-pod-autoscaler-sync-period=5s")

	add(scheduler, c.Kubernetes,
		"--kubeconfig="+l.userConfig("scheduler"), "--leader-elect=false",
		"--bind-address=127.0.0.1", number("secure-port", c.Ports.Scheduler),
		"--kube-api-qps=200", "--kube-api-burst=400")

	if c.Mode == real {
		add(containerd, containerd, "--config="+l.in("containerd.toml"))
		add(kubelet, c.Kubernetes,
			"--config="+l.in("kubelet.yaml"), "--kubeconfig="+l.userConfig("kubelet"),
			"--hostname-override="+nodeName, "--node-ip="+nodeAddress,
			"--node-labels=topology.kubernetes.io/zone="+nodeZone,
			"--root-dir="+l.in("kubelet"), "--cert-dir="+l.in("kubelet-pki"))
		add(kubeProxy, c.Kubernetes,
			"--kubeconfig="+l.userConfig("proxy"), "--proxy-mode=nftables",
			"--cluster-cidr="+podRange, "--hostname-override="+nodeName, "--bind-address="+nodeAddress,
			"--oom-score-adj=0",
			// The limits of connection tracking belong to the machine.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
	}
	if c.Kwok != "" {
		add(kwok, c.Kwok,
			"--kubeconfig="+l.kubeconfig(), "--node-ip="+nodeAddress, "--cidr="+simulatedPodRange,
			"--manage-all-nodes=false", "--manage-nodes-with-annotation-selector="+simulatedNodeAnnotation+"=fake",
			fmt.Sprintf("--server-address=127.0.0.1:%d", c.Ports.Kwok))
	}
	return all
}

// startsWithCluster tells whether init starts a component of its own accord.
func startsWithCluster(name string, m mode) bool {
	return name != kwok || m == simulated
}

// sortedNames returns the names of components in a fixed order.
func sortedNames[V any](all map[string]V) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
