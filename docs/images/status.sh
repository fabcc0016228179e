#!/usr/bin/env bash
# Makes status.svg: what `kubectl microservice status -w` shows of a canary that is under way, taken from a terminal of tmux.
#   e2e/cluster/bin/cluster run -- env OPERATOR=$PWD/target/debug/microservice-operator PATH=$PWD/target/debug:$PATH docs/images/status.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
namespace=shop
work=$(mktemp -d)
children=()
finish() {
  status=$?
  tmux -S "$work/tmux" kill-server 2>/dev/null || true
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1 || true
  [ $status -eq 0 ] || tail -n 20 "$work/operator.log"
  rm -rf "$work"
  exit $status
}
trap finish EXIT INT TERM

service() {
  cat <<YAML
apiVersion: microservice.dev/v1alpha1
kind: Microservice
metadata: {name: orders}
spec:
  image: registry.local/podinfo:$1
  imagePullPolicy: IfNotPresent
  replicas: 4
  ports: [{name: http, containerPort: 9898, servicePort: 80}]
  probes: {readiness: {httpGet: {path: /readyz, port: 9898}, periodSeconds: 1}}
  objectives:
    - {name: errors, goodPercent: "99.5", indicator: {errors: {}}}
    - {name: fast, goodPercent: "99", indicator: {latency: {thresholdMilliseconds: 250}}}
  strategy:
    type: Canary
    canary: {steps: [{weight: 25, durationSeconds: 300}, {weight: 50, pause: Manual}]}
YAML
}

"$OPERATOR" crds | kubectl apply --server-side -f - >/dev/null
kubectl create namespace "$namespace" >/dev/null
"$OPERATOR" run --namespaces "$namespace" --metrics-address 127.0.0.1:0 >"$work/operator.log" 2>&1 &
children+=($!)
service 1.0.0 | kubectl apply -n "$namespace" -f - >/dev/null
kubectl microservice -n "$namespace" wait orders --for=healthy --timeout=3m
address=$(kubectl get service orders -n "$namespace" -o jsonpath='{.spec.clusterIP}')
# Users, of whom each request is a connection.
(while sleep 0.05; do curl --silent --output /dev/null --max-time 2 "http://$address/" || true; done) &
children+=($!)
service 1.1.0 | kubectl apply -n "$namespace" -f - >/dev/null
kubectl microservice -n "$namespace" wait orders --for=step=1 --timeout=3m

tmux -S "$work/tmux" -f /dev/null new-session -d -x 150 -y 40 "LC_ALL=C.UTF-8 kubectl microservice -n $namespace status orders -w"
# Until enough requests were seen, so that there is something in the picture.
for _ in $(seq 100); do
  seen=$(kubectl get msvc orders -n "$namespace" -o jsonpath='{.status.rollout.checks[0].samples}')
  [ "${seen:-0}" -lt 60 ] || break
  sleep 1
done
[ "${seen:-0}" -ge 60 ]
sleep 2
{
  printf '\033[1m$ kubectl microservice status orders -w\033[0m\n'
  tmux -S "$work/tmux" capture-pane -p -e
} | "$here/terminal.py" "kubectl microservice status -w: a canary at its first step, with its checks, revisions and pods" >"$here/status.svg"
