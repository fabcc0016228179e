#!/bin/bash
# Checks what the chart and the examples are rendered to with what users' platforms run: Kubernetes' schemas (kubernetes-validate) and
# checkov. Needs the operator's binary, Helm (`make build helm`), Python, and the registry of Python packages at the first run.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
work=$target/platform-lint
python=$work/venv/bin/python
if ! cmp -s contrib/platform-lint/requirements.txt "$work/installed"; then
  rm -rf "$work/venv"
  python3 -m venv "$work/venv"
  "$python" -m pip install --quiet --disable-pip-version-check -r contrib/platform-lint/requirements.txt
  cp contrib/platform-lint/requirements.txt "$work/installed"
fi
rm -rf "$work/operator" "$work/workloads"
mkdir -p "$work/operator" "$work/workloads"
for values in charts/microservice-operator/ci/*-values.yaml; do
  e2e/cluster/bin/helm-4 template mo charts/microservice-operator --namespace system --kube-version 1.33.0 --values "$values" \
    > "$work/operator/$(basename "$values")"
done
for example in manifests/examples/*.yaml; do
  "$target/debug/microservice-operator" render -f "$example" --namespace shop > "$work/workloads/$(basename "$example")"
done
"$python" contrib/platform-lint/schemas.py "$work"/operator/*.yaml "$work"/workloads/*.yaml
for what in operator workloads; do
  "$work/venv/bin/checkov" --directory "$work/$what" --config-file "contrib/platform-lint/$what.yaml" --skip-download
  echo "checkov: nothing unexplained in $what"
done
