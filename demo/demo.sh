#!/usr/bin/env bash
# The main job in two minutes, on the cluster that KUBECONFIG (and CONTEXT) name: a service is described once, a good
# release goes out, a broken one is taken back by itself. Leaves nothing behind but the CRD.
#
# usage: OPERATOR=path/to/microservice-operator demo/demo.sh
set -euo pipefail
cd "$(dirname "$0")"

OPERATOR=${OPERATOR:?set OPERATOR to the microservice-operator binary}
IMAGE_1=${IMAGE_1:-stefanprodan/podinfo:6.9.0}
IMAGE_2=${IMAGE_2:-stefanprodan/podinfo:6.9.1}
NAMESPACE=${NAMESPACE:-microservice-demo}
KUBECTL=(kubectl ${CONTEXT:+--context "$CONTEXT"})
k() { "${KUBECTL[@]}" --namespace "$NAMESPACE" "$@"; }

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' green='' red='' plain=''; fi
say() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f s", to - from }'; }

work=$(mktemp -d)
children=()
finish() {
  status=$?
  trap - EXIT INT TERM
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  "${KUBECTL[@]}" delete namespace "$NAMESPACE" --wait=false >/dev/null 2>&1 || true
  wait 2>/dev/null || true
  if [ $status -ne 0 ]; then printf '%sThe demo failed. The last lines of the operator:%s\n' "$red" "$plain"; tail -n 20 "$work/operator.log" 2>/dev/null || true; fi
  rm -rf "$work"
  exit $status
}
trap finish EXIT INT TERM

# Prints a line whenever what the status says has changed, from the lines that a watch writes.
follow() {
  local began=$1 line last=''
  while IFS= read -r line; do
    [ "$line" = "$last" ] && continue
    last=$line
    IFS='|' read -r phase ready message <<<"$line"
    case $phase in Healthy) colour=$green ;; Degraded) colour=$red ;; *) colour='' ;; esac
    printf '  %s%7s%s  %s%-11s%s %-4s %s\n' "$dim" "$(since "$began")" "$plain" "$colour" "${phase:-(unseen)}" "$plain" "$ready" "${message:0:150}"
  done
}
# Waits for a value of the status while showing what happens on the way.
until_status() {
  mkfifo "$work/status"
  # Called directly: killing a shell function would leave kubectl behind.
  "${KUBECTL[@]}" --namespace "$NAMESPACE" get microservice podinfo --watch -o jsonpath='{.status.phase}|{.status.ready}|{.status.message}{"\n"}' >"$work/status" 2>/dev/null &
  local watch=$! follower
  follow "$began" <"$work/status" &
  follower=$!
  children+=("$watch")
  k wait microservice/podinfo --for="jsonpath=$1" --timeout=180s >/dev/null
  # The watch has printed what the wait has seen, or prints it within this moment; nothing depends on it.
  sleep 0.3
  kill "$watch" 2>/dev/null || true
  wait "$follower" "$watch" 2>/dev/null || true
  rm "$work/status"
}
release() { sed -e "s|IMAGE_1|$1|" podinfo.yaml | { if [ $# -gt 1 ]; then cat && printf '  args: ["%s"]\n' "$2"; else cat; fi; } | k apply -f - >/dev/null; }

say "The CRD and the operator"
"$OPERATOR" crds | "${KUBECTL[@]}" apply -f -
"${KUBECTL[@]}" create namespace "$NAMESPACE" --dry-run=client -o yaml | "${KUBECTL[@]}" apply -f - >/dev/null
"${KUBECTL[@]}" label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted --overwrite >/dev/null
"$OPERATOR" run ${CONTEXT:+--context "$CONTEXT"} --namespaces "$NAMESPACE" --metrics-address 127.0.0.1:0 >"$work/operator.log" 2>&1 &
children+=($!)

say "A service, described once"
sed -e "s|IMAGE_1|$IMAGE_1|" podinfo.yaml | grep -v '^#' | sed 's/^/    /'
began=$(now)
release "$IMAGE_1"
until_status '{.status.phase}=Healthy'
printf '%sserved after %s%s, with:\n' "$green" "$(since "$began")" "$plain"
k get deployment,service,poddisruptionbudget,controllerrevision -o name | sed 's/^/    /'

# Somebody uses it all the while, where this shell can reach the Service.
address=$(k get service podinfo -o jsonpath='{.spec.clusterIP}')
if command -v curl >/dev/null && curl --silent --output /dev/null --max-time 2 --retry 5 --retry-connrefused "http://$address/"; then
  (
    for _ in $(seq 3000); do
      if curl --silent --fail --output /dev/null --max-time 2 "http://$address/"; then echo ok; else echo failed; fi
      sleep 0.05
    done >"$work/requests"
  ) &
  children+=($!)
fi

say "A good release: $IMAGE_2"
began=$(now)
release "$IMAGE_2"
until_status '{.status.conditions[?(@.type=="RolledOut")].status}=True'
printf '%spromoted after %s%s, 10 s of which it was only watched\n' "$green" "$(since "$began")" "$plain"

say "A broken release: a port with one 9 too many"
stable=$(k get microservice podinfo -o jsonpath='{.status.stableRevision}')
began=$(now)
release "$IMAGE_2" --port=99999
until_status '{.status.conditions[?(@.type=="Stalled")].reason}=RolledBack'
printf '%staken back after %s%s; %s serves on with %s pods. The reason:\n' "$red" "$(since "$began")" "$plain" "$stable" \
  "$(k get microservice podinfo -o jsonpath='{.status.ready}')"
k get microservice podinfo -o jsonpath='{.status.rollout.cause.reason}: {.status.rollout.cause.message}{"\n"}' | fold -s -w 110 | sed 's/^/    /'

say "What is there now"
k get microservice podinfo -o wide | cut -c1-150
k get pods
if [ -s "$work/requests" ]; then
  printf '\n%s requests were sent meanwhile, %s failed\n' "$(wc -l <"$work/requests")" "$(grep -c failed "$work/requests" || true)"
fi
