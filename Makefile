# What can be done here. `make` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

RUNNER := e2e/cluster/bin/cluster
OPERATOR := target/debug/microservice-operator
# With CONTEXT=name the demo and the e2e tests use that context of your kubeconfig instead of the embedded Kubernetes.
CONTEXT ?=
# Tests of one file that run side by side; more only wait for each other on two cores.
E2E_THREADS ?= 4
# Seconds that a test waits for what must come: enough for a machine that is slow or busy.
PATIENCE ?= 150
# What the container image is for, and its name without a tag.
ARCHITECTURES ?= amd64,arm64
IMAGE ?= localhost/microservice-operator
IMAGE_TOOL := e2e/cluster/bin/image
# The image that the e2e tests install by the chart: the debug build, linked as in the real image.
E2E_IMAGE := target/image/e2e/microservice-operator.oci.tar
# Scenarios that run once more with the operator as a pod of the chart, over the earlier issues, by file and name.
POD_TESTS := rollout canary rollback blue_green commands analysis checks faults children
POD_SCENARIOS := rolling_update_under_load a_persons_rollback_stays a_match_sends_the_candidate without_routes_pods_are_the_shares \
  a_crash_loop_is_taken_back a_container_killed_for_its_memory by_a_gateway_all_traffic_flips promote_full_skips \
  a_candidate_that_fails_a_third a_job_decides_in_each_step an_operator_killed_in_a_rollout every_kind_is_made_owned
# The directory of the cluster that the e2e tests run on.
E2E_DIR ?= /tmp/microservice-operator-e2e
# What a real node needs, beside what is built here.
DEBIAN_PACKAGES := containerd runc containernetworking-plugins iproute2 nftables mount python3-pip redis-server git

.PHONY: help
help: ## list what can be done
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: test
test: tools fmt-check clippy unit gitops cluster-test e2e ## all that guards the project; CI runs this and nothing else

.PHONY: demo
demo: tools build ## the main job, on an embedded Kubernetes or on CONTEXT=name
	@if [ -n "$(CONTEXT)" ]; then \
	  OPERATOR=$(abspath $(OPERATOR)) CONTEXT="$(CONTEXT)" demo/demo.sh; \
	else \
	  $(MAKE) --no-print-directory cluster-build && \
	  $(RUNNER) run --dir /tmp/microservice-operator-demo -- env OPERATOR=$(abspath $(OPERATOR)) \
	    IMAGE_1=registry.local/podinfo:1.0.0 IMAGE_2=registry.local/podinfo:1.1.0 demo/demo.sh; \
	fi

.PHONY: build
build: ## build the operator
	cargo build --locked

.PHONY: fmt-check
fmt-check: ## formatting
	cargo fmt --all --check
	cd e2e/cluster && test -z "$$(gofmt -l . | tee /dev/stderr)"

.PHONY: clippy
clippy: ## lints, warnings denied
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: promtool
promtool: $(RUNNER) ## build promtool (cached outside of the tree), by which the tests try out alerts
	ln -sfn "$$($(RUNNER) tool promtool)" e2e/cluster/bin/promtool

.PHONY: helm
helm: $(RUNNER) ## build Helm 3 and 4 (cached outside of the tree), by which the tests render the charts
	for version in helm-3 helm-4; do ln -sfn "$$($(RUNNER) tool $$version)" e2e/cluster/bin/$$version; done

.PHONY: krew
krew: $(RUNNER) ## build Krew's check of manifests (cached outside of the tree), by which a test tries the plugin's
	ln -sfn "$$($(RUNNER) tool validate-krew-manifest)" e2e/cluster/bin/validate-krew-manifest

.PHONY: unit
unit: promtool helm krew ## unit, golden and property tests; generated files
	cargo test --locked

.PHONY: platform-lint
platform-lint: build helm ## what users' platforms say of the chart and of rendered services: schemas and checkov (not part of test)
	contrib/platform-lint/run.sh

# Not from the cache of results, which does not see files beyond the module.
.PHONY: gitops
gitops: ## what Argo CD and Flux make of a status, by their own packages
	cd e2e/cluster/tools/argo-cd && test -z "$$(gofmt -l . | tee /dev/stderr)" && CGO_ENABLED=0 go test -count=1 ./...
	cd e2e/cluster/tools/flux && CGO_ENABLED=0 go test -count=1 ./...

.PHONY: cluster-build
cluster-build: $(RUNNER) ## build the embedded Kubernetes (cached outside of the tree)
	$(RUNNER) build

.PHONY: cluster-build-all
cluster-build-all: $(RUNNER) ## the same with all that a cluster can have beside it: gateway, Istio, metrics, kwok
	$(RUNNER) build --all

$(RUNNER) $(IMAGE_TOOL): $(shell find e2e/cluster/cmd e2e/cluster/oci e2e/cluster/go.mod e2e/cluster/go.sum -type f 2>/dev/null)
	cd e2e/cluster && CGO_ENABLED=0 go build -o bin/$(@F) ./cmd/$(@F)

.PHONY: cluster-test
cluster-test: cluster-build-all ## the embedded Kubernetes itself: its parts, and that it leaves nothing behind
	cd e2e/cluster && go vet ./cmd/... ./oci/... ./misbehave/... ./pause/... && CLUSTER_E2E=1 go test ./cmd/... ./oci/... ./misbehave/...

.PHONY: image
image: $(IMAGE_TOOL) ## the container image and its bill of materials, in target/image, without Docker
	$(IMAGE_TOOL) build --architectures $(ARCHITECTURES) --repository $(IMAGE)

# Only what links differs from `build`. The program lies beside the archive, for images with other numbers.
.PHONY: e2e-image
e2e-image: $(IMAGE_TOOL)
	cargo rustc --locked --bin microservice-operator -- -C target-feature=+crt-static -C strip=debuginfo
	mkdir -p $(dir $(E2E_IMAGE)) && cp $(OPERATOR) $(dir $(E2E_IMAGE))
	$(IMAGE_TOOL) pack --repository registry.local/microservice-operator --output $(E2E_IMAGE) $(dir $(E2E_IMAGE))microservice-operator

.PHONY: e2e
e2e: build e2e-image helm cluster-build-all ## scenarios on a real Kubernetes
	cargo test --locked -p e2e --no-run
	$(RUNNER) run --dir $(E2E_DIR) -- env OPERATOR_BIN=$(abspath $(OPERATOR)) CLUSTER_BIN=$(abspath $(RUNNER)) \
	  OPERATOR_IMAGE=$(abspath $(E2E_IMAGE)) PATIENCE=$(PATIENCE) $(MAKE) --no-print-directory e2e-here

# In the network of a cluster.
.PHONY: e2e-here
e2e-here:
	failed=0; \
	cargo test --locked --no-fail-fast -p e2e -- --test-threads=$(E2E_THREADS) || failed=1; \
	OPERATORS=pods cargo test --locked --no-fail-fast -p e2e $(addprefix --test ,$(POD_TESTS)) -- \
	  --test-threads=$(E2E_THREADS) $(POD_SCENARIOS) || failed=1; \
	exit $$failed

.PHONY: generate
generate: build ## write the generated files anew
	mkdir -p crds && $(OPERATOR) crds > crds/microservices.microservice.dev.yaml
	UPDATE_CHARTS=1 cargo test --locked --test charts generated
	$(OPERATOR) argo-cd config-map > contrib/argo-cd/argocd-cm.yaml
	$(OPERATOR) argo-cd helm-values > contrib/argo-cd/helm-values.yaml
	$(OPERATOR) api-reference > docs/reference.md

.PHONY: tools
tools: $(RUNNER) ## check what is needed, and install the Debian packages where that is allowed
	@command -v cargo >/dev/null || { echo "Rust is missing: install rustup, it reads rust-toolchain.toml"; exit 1; }
	@command -v go >/dev/null || { echo "Go is missing: apt-get install golang, or a newer one from your vendor"; exit 1; }
	@if [ -z "$(CONTEXT)" ] && [ "$$(id -u)" = 0 ] && ! $(RUNNER) doctor >/dev/null 2>&1 && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $(DEBIAN_PACKAGES); \
	fi
	@[ -n "$(CONTEXT)" ] || $(RUNNER) doctor

.PHONY: clean
clean: ## remove what was built in the tree
	cargo clean
	rm -rf e2e/cluster/bin
