#!/bin/bash
# Runs as root in the virtual machine, from its start: the tests of cgroups, then a cluster with Corefit and `digits`.
# Writes to the folder that it is in, which is shared with the host: `steps` (one line a step), `figures`, `logs/`.
set -u
share=$(cd "$(dirname "$0")" && pwd)
. "$share/variables"                        # CHECKOUT, HOME, XDG_CACHE_HOME, ARCHIVES, SCALE, ONLY
export HOME XDG_CACHE_HOME COREFIT_DEADLINE_SCALE=$SCALE
export PATH=$CHECKOUT/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
logs=$share/logs
name=v2
mkdir -p "$logs"
cd "$CHECKOUT" || exit 1

say() { echo "corefit: $(date +%T) up $(cut -d. -f1 /proc/uptime) s: $*"; }
figure() { echo "$*" >>"$share/figures"; say "$*"; }

# step NAME COMMAND...: says whether it went well and how long it took; what it printed is in logs/NAME.
step() {
  local what=$1 begun=$SECONDS status=0
  shift
  say "$what ..."
  "$@" >"$logs/$what" 2>&1 || status=$?
  echo "$what $status $((SECONDS - begun))" >>"$share/steps"
  say "$what: status $status after $((SECONDS - begun)) s"
  [ $status = 0 ] || { tail -n 25 "$logs/$what"; sync; }
  return $status
}

network() {
  ip link set lo up
  # The cluster looks for a range that nothing routes to, and for the address that leads out.
  ip link add out type dummy && ip address add 192.0.2.1/24 dev out && ip link set out up
  ip route add default via 192.0.2.2 dev out
}

runtime_tests() {
  pytest -v -x -s -p no:cacheprovider tests/unit/test_runtime_grant.py tests/unit/test_devcluster_cgroups.py \
    tests/runtime/test_regrant.py tests/runtime/test_quota.py
}

hugetlb() { grep -w hugetlb "/sys/fs/cgroup/corefit-$name/cgroup.controllers"; }

operator() {
  helm upgrade --install corefit charts/corefit --values devcluster/chart-values.yaml --set replicas=1 \
    --namespace corefit-system --create-namespace --wait --timeout 40m
}

# With the CPU and the time that an emulated machine needs: a start takes 0.7 s of a real core.
digits() {
  kubectl apply -k examples
  kubectl rollout status deployment/models --timeout=30m
  sed -e 's/cpu: 250m/cpu: 1000m/' -e 's/latencyMilliseconds: 200/latencyMilliseconds: 5000/' \
    -e 's/maxReplicas: 2/maxReplicas: 1/' examples/digits/inferenceservice.yaml | kubectl apply -f -
  kubectl wait --for=condition=Ready cfis/digits --timeout=40m
}

answers() {
  python3 "$share/ask.py" "$(kubectl get service digits -o 'jsonpath={.spec.clusterIP}'):8080" \
    examples/digits/rows.json 20
}

pod() { kubectl get pods -l serving.corefit.dev/inferenceservice=digits -o 'jsonpath={.items[0].metadata.name}'; }
report() { kubectl get --raw "/api/v1/namespaces/default/pods/$(pod):8081/proxy/report"; }
planned() { report | grep -o "\"grant_millicores\":$1\b"; }

# The kubelet writes cpu.max of a running container; the runtime follows.
resize() {
  kubectl patch pod "$(pod)" --subresource=resize -p \
    '{"spec":{"containers":[{"name":"runtime","resources":{"limits":{"cpu":"600m"},"requests":{"cpu":"600m"}}}]}}' || return
  until planned 600; do sleep 1; [ $((SECONDS)) -lt 7200 ] || return 1; done
}

gone() { ! ls -d "/sys/fs/cgroup/corefit-$name" && ! ip link show "cf-$name"; }

evidence() {
  kubectl get nodes,pods,cfis -A -o wide
  kubectl describe cfis digits
  kubectl -n corefit-system logs deploy/corefit --tail=60
  kubectl get events -A
  find "/sys/fs/cgroup/corefit-$name" -name cpu.max -exec grep -H . {} +
  report
}

# kubectl and helm wait 32 s for it, which the server may need longer to make the first time.
schema() { until kubectl get --raw /openapi/v2 >/dev/null && kubectl api-resources >/dev/null; do sleep 5; done; }

cluster() {
  step up corefit-devcluster up --name $name || return
  eval "$(corefit-devcluster env --name $name)"
  step hugetlb hugetlb || return
  step schema schema || return
  # shellcheck disable=SC2086 - a list of paths without spaces
  step load-images corefit-devcluster load-images --name $name $ARCHIVES || return
  step operator operator || return
  step digits digits || return
  step answers answers || return
  figure "plan in the report: $(report | grep -o '"plan":{[^}]*}')"
  step resize resize
}

say "kernel $(uname -r), cgroups: $(stat -fc %T /sys/fs/cgroup), offered: $(cat /sys/fs/cgroup/cgroup.controllers)"
figure "handed down at boot: $(cat /sys/fs/cgroup/cgroup.subtree_control)"
step network network
[ "$ONLY" = cluster ] || step runtime-tests runtime_tests
if [ "$ONLY" != tests ]; then
  cluster || say "the cluster's part has failed"
  step evidence evidence
  corefit-devcluster status --name $name >"$logs/status" 2>&1
  figure "handed down with a cluster: $(cat /sys/fs/cgroup/cgroup.subtree_control)"
  cp -r "$HOME/.local/state/corefit/devcluster/$name/logs" "$logs/cluster" && rm -f "$logs/cluster/audit.log"
  step down corefit-devcluster down --name $name
  step gone gone
fi
say "end"
touch "$share/end"
sync
poweroff -f
