package main

// The addon metrics: metrics-server, which serves metrics.k8s.io from what the kubelet measures.

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var metricsServerArtefact = artefact{
	name: metricsServer, module: "tools/metrics-server", pkg: "sigs.k8s.io/metrics-server/cmd/metrics-server",
}

// metricsPort is on the address of the node.
const metricsPort = 4443

// metricsServerHost is the name by which the API server calls it.
const metricsServerHost = metricsServer + ".kube-system.svc"

// metricsObjects lead the API server to the process, which is no pod: the Service selects nothing, and its endpoints
// are written down.
const metricsObjects = `apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec:
  ports: [{name: https, port: 443, targetPort: $PORT}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics-server, namespace: kube-system, labels: {kubernetes.io/service-name: metrics-server}}
addressType: IPv4
endpoints: [{addresses: [$NODE], conditions: {ready: true}}]
ports: [{name: https, port: $PORT}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:aggregated-metrics-reader
  labels:
    rbac.authorization.k8s.io/aggregate-to-view: "true"
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
- {apiGroups: [metrics.k8s.io], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  service: {name: metrics-server, namespace: kube-system}
  group: metrics.k8s.io
  version: v1beta1
  caBundle: $CA
  groupPriorityMinimum: 100
  versionPriority: 100
`

const (
	metricsAPI        = "/apis/metrics.k8s.io/v1beta1"
	metricsAPIService = "v1beta1.metrics.k8s.io"
)

func metricsAddon() addon {
	return addon{
		artefacts:  []artefact{metricsServerArtefact},
		install:    installMetrics,
		components: metricsComponents,
		ready: func(ctx context.Context, s *site) error {
			return s.client.do(ctx, http.MethodGet, metricsAPI, nil, nil)
		},
		// An API that does not answer keeps every namespace from being deleted.
		remove: func(ctx context.Context, s *site) error {
			return s.kubectl(ctx, "", "delete", "apiservice", metricsAPIService, "--ignore-not-found")
		},
	}
}

func installMetrics(ctx context.Context, s *site) error {
	ca, err := loadAuthority(s.layout.pki(), "ca")
	if err != nil {
		return err
	}
	certificate := s.layout.in("pki", metricsServer+".crt")
	if _, err := os.Stat(certificate); err != nil {
		pair, err := ca.issue(identity{name: metricsServer, dnsNames: []string{metricsServerHost}})
		if err != nil {
			return err
		}
		if err := pair.write(s.layout.pki(), metricsServer); err != nil {
			return err
		}
	}
	bundle := base64.StdEncoding.EncodeToString(encodeCertificate(ca.certificate.Raw))
	return s.apply(ctx, strings.NewReplacer("$NODE", nodeAddress, "$PORT", strconv.Itoa(metricsPort), "$CA", bundle).
		Replace(metricsObjects))
}

func metricsComponents(s *site) ([]component, error) {
	config := s.layout.kubeconfig()
	return []component{{
		name: metricsServer, binary: s.cache.path(metricsServerArtefact),
		args: []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--secure-port=" + strconv.Itoa(metricsPort), "--bind-address=" + nodeAddress,
			"--tls-cert-file=" + s.layout.in("pki", metricsServer+".crt"),
			"--tls-private-key-file=" + s.layout.in("pki", metricsServer+".key"),
			"--kubelet-certificate-authority=" + s.layout.in("pki", "ca.crt"),
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
			// The shortest that it takes.
			"--metric-resolution=10s", "--kubelet-request-timeout=5s",
		},
	}}, nil
}
