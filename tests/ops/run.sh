#!/usr/bin/env bash
# promtool over what is shipped for Prometheus, and over a scrape of the real binary.
#
#   tests/ops/run.sh GATEWAY     the path of the binary; promtool is Debian's `prometheus`
set -euo pipefail
gateway=$(realpath "$1")
# shellcheck source=tests/wrote/keep.sh
. "$(dirname "$0")/../wrote/keep.sh"
cd "$(dirname "$0")/../../deploy/prometheus"

work=$(mktemp -d)
pid=
finish() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    cat "$work/greeting" "$work/log" "$work/scrape" 2>/dev/null | keep gateway || true
  fi
  rm -rf "$work"
}
trap finish EXIT

passed=0 failed=0
check() {
  local what=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $what"
  else
    failed=$((failed + 1))
    echo "FAILED: $what"
    cat "$work/out"
  fi
}

check "the scrape configuration" promtool check config --syntax-only prometheus.yml
check "alerts and recorded series" promtool check rules recording.yml alerts.yml
check "the alerts' own tests" promtool test rules tests.yml

# What a Grafana would ask: each query a rule, with the variables filled in as Grafana does it.
panels() {
  # shellcheck disable=SC2016
  jq '{groups: [{name: "panels", rules: [.. | objects | .expr? // empty
        | gsub("\\$__rate_interval"; "5m") | gsub("\\$(job|instance)"; ".*")
        | {record: "panel", expr: .}]
      | to_entries | map(.value + {labels: {panel: "\(.key)"}})}]}' ../grafana/wrtc-gateway.json >"$work/panels.yml"
  [ "$(jq '.groups[0].rules | length' "$work/panels.yml")" -gt 20 ] && promtool check rules "$work/panels.yml"
}
check "the queries of the Grafana dashboard" panels

token=connector-of-ops-Yk57
kept_secret connector.tokens "$token"
# Port 9 takes nothing: a gateway without a SIP server, with ports that are free.
"$gateway" serve --set sip.servers=sip:127.0.0.1:9 --set http.listen=127.0.0.1:0 --set sip.listen=127.0.0.1:0 \
  --set media.listen=127.0.0.1:0 --set media.rtp_ports=41000-41099 \
  --set "connector.tokens=$token=5001" --set "$kept_log" >"$work/greeting" 2>"$work/log" &
pid=$!
url=
for _ in $(seq 300); do
  url=$(sed -n 's/^serving at //p' "$work/greeting")
  [ -z "$url" ] || break
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$url" ]; then
  cat "$work/log" >&2
  exit 1
fi
scrape() {
  curl -fsS --max-time 20 "$@" "${url}metrics" >"$work/scrape"
}
lint() {
  # Whatever promtool says is a fault, also where it ends well.
  promtool check metrics <"$work/scrape" >"$work/said" 2>&1 || { cat "$work/said"; return 1; }
  [ ! -s "$work/said" ] || { cat "$work/said"; return 1; }
}
check "a scrape" scrape
check "what it says" grep -q '^wrtc_sip_server_up{server="sip:127.0.0.1:9"} 0$' "$work/scrape"
check "promtool on the scrape" lint
check "a scrape in OpenMetrics" scrape -H 'Accept: application/openmetrics-text;version=1.0.0'
check "its end" grep -qx '# EOF' "$work/scrape"

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
