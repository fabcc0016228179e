package main

// The addon argo-cd: Argo CD's application controller and repo server, with the redis that they share. Its API server with
// the pages is not there: Applications are objects, and an action is run by `argocd-run-action`.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

var argoCDArtefact = artefact{name: "argocd", module: "tools/argo-cd", pkg: "./argocd"}

// Ports on 127.0.0.1.
const (
	argoRedisPort             = 6379
	argoRepoServerPort        = 8081
	argoRepoServerMetricsPort = 8084
	argoControllerMetricsPort = 8082
)

// argoObjects are what Argo CD's own manifests bring, as far as the two processes look at it. The default project allows
// everything.
const argoObjects = `{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}
---
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: testbed}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
`

// argoConfigMaps are looked for, and may be empty.
var argoConfigMaps = []string{
	"argocd-cm", "argocd-rbac-cm", "argocd-cmd-params-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm", "argocd-gpg-keys-cm",
}

func argoCDAddon() addon {
	return addon{
		artefacts:  []artefact{argoCDArtefact},
		crds:       "argo-cd",
		install:    installArgoCD,
		components: argoCDComponents,
		ready: func(ctx context.Context, _ *site) error {
			return errors.Join(
				answers(localPage(argoRepoServerMetricsPort, "/healthz"))(ctx),
				answers(localPage(argoControllerMetricsPort, "/healthz"))(ctx),
			)
		},
	}
}

func argoDir(s *site) string { return s.layout.in("argo-cd") }

func installArgoCD(ctx context.Context, s *site) error {
	if _, err := lookPath("redis-server"); err != nil {
		return errors.New("redis-server is missing: apt-get install --no-install-recommends redis-server")
	}
	programs := filepath.Join(argoDir(s), "bin")
	if err := errors.Join(os.MkdirAll(programs, 0o755), os.MkdirAll(filepath.Join(argoDir(s), "tmp"), 0o755)); err != nil {
		return err
	}
	// The repo server calls it even where no signature is to be verified.
	wrapper := filepath.Join(programs, "git-verify-wrapper.sh")
	if err := writeAtomically(wrapper, []byte("#!/bin/sh\n"), 0o755); err != nil {
		return err
	}
	// What tests and the repo server call by name.
	for _, name := range []string{"argocd-git-ask-pass", "argocd-run-action"} {
		link := filepath.Join(programs, name)
		if err := errors.Join(removeIfThere(link), os.Symlink(s.cache.path(argoCDArtefact), link)); err != nil {
			return err
		}
	}
	objects := argoObjects
	for _, name := range argoConfigMaps {
		objects += fmt.Sprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}}\n", name)
	}
	return s.apply(ctx, objects)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func argoCDComponents(s *site) ([]component, error) {
	redis, err := lookPath("redis-server")
	if err != nil {
		redis = "/usr/bin/redis-server" // whoever starts it has said that it is missing
	}
	address := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	binary := s.cache.path(argoCDArtefact)
	environment := []string{
		"ARGOCD_GPG_ENABLED=false", "ARGOCD_FAKE_IN_CLUSTER=true", "KUBECONFIG=" + s.layout.kubeconfig(),
		"PATH=" + filepath.Join(argoDir(s), "bin") + ":" + toolPath, "TMPDIR=" + filepath.Join(argoDir(s), "tmp"),
	}
	return []component{
		{
			name: argoRedis, binary: redis,
			args: []string{"--port", strconv.Itoa(argoRedisPort), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"},
		},
		{
			name: argoRepoServer, binary: binary, env: environment,
			args: []string{
				"--port=" + strconv.Itoa(argoRepoServerPort), "--address=127.0.0.1", "--redis=" + address(argoRedisPort),
				"--metrics-port=" + strconv.Itoa(argoRepoServerMetricsPort), "--disable-tls", "--client-ca-path=",
				"--loglevel=warn",
			},
		},
		{
			name: argoController, binary: binary, env: environment,
			args: []string{
				"--kubeconfig=" + s.layout.kubeconfig(), "--namespace=argocd", "--repo-server=" + address(argoRepoServerPort),
				"--repo-server-plaintext", "--redis=" + address(argoRedisPort),
				"--metrics-port=" + strconv.Itoa(argoControllerMetricsPort), "--loglevel=info",
			},
		},
	}, nil
}
