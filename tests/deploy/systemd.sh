#!/usr/bin/env bash
# systemd.sh GATEWAY: systemd's word on the unit, and the gateway's system calls against the unit's filter.
set -euo pipefail
cd "$(dirname "$0")/../.."
gateway=$(realpath "$1")
. tests/wrote/keep.sh
unit=deploy/systemd/wrtc-gateway.service
# What is left of exposure: ports, the network, /proc. 10 is a service without any of it.
max_exposure=20 # tenths
work=$(mktemp -d)
pid=
cleanup() {
  # strace's child outlives it.
  [ -z "$pid" ] || kill -KILL $(pgrep -P "$pid") "$pid" 2>/dev/null || true
  [ ! -e "$work/out" ] || keep unit <"$work/out"
  rm -rf "$work"
}
trap cleanup EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# Every program of it has to be there: ours stands in target/.
sed "s#/usr/bin/wrtc-gateway#$gateway#" "$unit" >"$work/wrtc-gateway.service"
told=$(systemd-analyze verify --man=no "$work/wrtc-gateway.service" 2>&1) || fail "systemd-analyze verify: $told"
# It tells of unknown keys and ends well all the same.
[ -z "$told" ] || fail "systemd-analyze verify: $told"
systemd-analyze security --offline=true --threshold="$max_exposure" "$work/wrtc-gateway.service" >"$work/security" 2>&1 ||
  fail "$(tail -1 "$work/security")"
tail -1 "$work/security"

# The unit waits longer than a drain takes.
stop=$(sed -n 's/^TimeoutStopSec=//p' "$unit")
drain=$(sed -n 's/^drain_seconds = //p' examples/gw.toml | head -1)
[ "$stop" -gt $((drain + 10)) ] || fail "TimeoutStopSec=$stop, and calls have $drain s to end"

# What the filter allows: the groups of the first line less those of the second, each opened up.
group() { systemd-analyze syscall-filter "$1" | sed -n 's/^    \([@a-z0-9_-]*\)$/\1/p'; }
calls() {
  local name
  for name in $(group "$1"); do
    case $name in @*) calls "$name" ;; *) echo "$name" ;; esac
  done
}
for name in $(sed -n 's/^SystemCallFilter=\(@.*\)/\1/p' "$unit"); do calls "$name"; done | sort -u >"$work/groups"
for name in $(sed -n 's/^SystemCallFilter=~\(.*\)/\1/p' "$unit"); do calls "$name"; done | sort -u >"$work/not"
# What is added again by name. @default is always allowed.
{ comm -23 "$work/groups" "$work/not"; sed -n 's/^SystemCallFilter=\([a-z].*\)/\1/p' "$unit" | tr ' ' '\n'; calls @default; } | sort -u >"$work/allowed"

command -v strace >/dev/null || fail "strace is not installed"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
settings=(--set "http.listen=127.0.0.1:$port" --set sip.servers=sip:127.0.0.1:9 --set sip.listen=127.0.0.1:0
  --set media.listen=127.0.0.1:0 --set "journal.store=$work/calls.db" --set connector.tokens=connector-of-the-unit-Rf18=5001)
kept_secret connector.tokens connector-of-the-unit-Rf18
strace -f -qq -o "$work/trace" -e signal=none "$gateway" serve "${settings[@]}" --set "$kept_log" >"$work/out" 2>&1 &
pid=$!
for _ in $(seq 300); do
  "$gateway" healthcheck "${settings[@]}" 2>/dev/null && break
  kill -0 "$pid" 2>/dev/null || fail "the gateway is gone: $(cat "$work/out")"
  sleep 0.1
done
"$gateway" healthcheck "${settings[@]}" || fail "the gateway does not answer: $(cat "$work/out")"
# The poll of an agent whom no SIP server knows, a reload, an end.
curl -s -o "$work/answer" "http://127.0.0.1:$port/sign_in?dn=5001&name=x" || true
child=$(pgrep -P "$pid" | head -1)
kill -HUP "$child"
sleep 1
kill -TERM "$child" || fail "SIGHUP has ended it: $(cat "$work/out")"
for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
pid=
sed -E 's/^[0-9]+ +//; /^(\+\+\+|---|<)/d; s/\(.*//' "$work/trace" | sort -u >"$work/used"
[ "$(wc -l <"$work/used")" -gt 30 ] || fail "only these system calls were seen: $(cat "$work/used")"
# strace's first is the program itself, which systemd calls before the filter stands; SQLite gives its files away only
# where it is root, which the service is not.
denied=$(comm -23 "$work/used" "$work/allowed" | grep -vx -e execve -e fchown || true)
[ -z "$denied" ] || fail "system calls that the unit's filter denies: $denied"
echo "$(wc -l <"$work/used") system calls, all of them in the unit's filter"
