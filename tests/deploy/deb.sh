#!/usr/bin/env bash
# deb.sh: the Debian package, of what target/debug has: made, judged by lintian, and as root installed into a Debian of
# its own (target/deploy/debian), run there, upgraded and purged. Where that cannot be it says SKIPPED and exits with 77.
set -euo pipefail
cd "$(dirname "$0")/../.."
package=$PWD/target/deploy/wrtc-gateway.deb
chroot=$PWD/target/deploy/debian
mkdir -p target/deploy
. tests/wrote/keep.sh
pid=
cleanup() { [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; }
trap cleanup EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# Built already; how small it is does not matter here.
cargo deb --no-build --profile dev --strip --fast --quiet --output "$package" 2>target/deploy/cargo-deb.log ||
  fail "cargo deb: $(cat target/deploy/cargo-deb.log)"

contents=$(dpkg-deb -c "$package" | awk '{ print $1, $2, $6 }')
for file in '-rwxr-xr-x 0/0 ./usr/bin/wrtc-gateway' \
  '-rw-r--r-- 0/0 ./etc/wrtc-gateway/gw.toml' \
  '-rw-r--r-- 0/0 ./usr/lib/systemd/system/wrtc-gateway.service' \
  '-rw-r--r-- 0/0 ./usr/lib/sysctl.d/60-wrtc-gateway.conf' \
  '-rw-r--r-- 0/0 ./usr/share/doc/wrtc-gateway/copyright' \
  '-rw-r--r-- 0/0 ./usr/share/doc/wrtc-gateway/quick-start.md' \
  '-rw-r--r-- 0/0 ./usr/share/doc/wrtc-gateway/configuration.md' \
  '-rw-r--r-- 0/0 ./usr/share/doc/wrtc-gateway/examples/gw.toml'; do
  grep -qxF -- "$file" <<<"$contents" || fail "not in the package: $file, but:
$contents"
done
[ "$(dpkg-deb -I "$package" conffiles)" = /etc/wrtc-gateway/gw.toml ] || fail "conffiles: $(dpkg-deb -I "$package" conffiles)"
depends=$(dpkg-deb -f "$package" Depends)
case $depends in *libc6*adduser* | *adduser*libc6*) ;; *) fail "Depends: $depends" ;; esac
# The logs of changes must agree.
version=$(dpkg-deb -f "$package" Version)
[ "$(dpkg-parsechangelog -l deploy/debian/changelog -S Version)" = "$version" ] ||
  fail "deploy/debian/changelog is not of $version"

# A closed bug is only for Debian's own; the package is not in Debian's archive.
lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs,bad-distribution-in-changes-file,no-changelog \
  "$package" || fail "lintian"
echo "package: $version, $(du -h "$package" | cut -f1), $depends"

if [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: installing the package: chroot wants root"
  exit 77
fi
if [ ! -x "$chroot/usr/sbin/adduser" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -m1 '/debian/\?$') ||
    { echo "SKIPPED: installing the package: apt knows no Debian mirror"; exit 77; }
  rm -rf --one-file-system "$chroot" "$chroot.new"
  debootstrap --variant=minbase --include=adduser,libgcc-s1 bookworm "$chroot.new" "$mirror" \
    >target/deploy/debootstrap.log 2>&1 ||
    { echo "SKIPPED: installing the package: debootstrap: $(tail -1 target/deploy/debootstrap.log)"; exit 77; }
  # The package must start nothing.
  printf '#!/bin/sh\nexit 101\n' >"$chroot.new/usr/sbin/policy-rc.d"
  chmod +x "$chroot.new/usr/sbin/policy-rc.d"
  mv "$chroot.new" "$chroot"
fi
inside() { chroot "$chroot" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

inside dpkg --purge wrtc-gateway >/dev/null 2>&1 || true
cp "$package" "$chroot/tmp/wrtc-gateway.deb"
inside dpkg -i /tmp/wrtc-gateway.deb >target/deploy/dpkg.log 2>&1 || fail "dpkg -i: $(cat target/deploy/dpkg.log)"
inside getent passwd wrtc-gateway >/dev/null || fail "no user of its own"
[ "$(inside stat -c '%U:%G %a' /etc/wrtc-gateway)" = 'root:wrtc-gateway 750' ] || fail "anybody may look for secrets"
told=$(inside wrtc-gateway check --config /etc/wrtc-gateway/gw.toml 2>&1) && fail "check of a file without a SIP server"
case $told in *sip.servers*) ;; *) fail "check says: $told" ;; esac
[ "$(wc -l <<<"$told")" = 1 ] || fail "the shipped file has other faults: $told"

inside sed -i 's/^# servers = .*/servers = ["sip:127.0.0.1:9"]/' /etc/wrtc-gateway/gw.toml
inside wrtc-gateway check --config /etc/wrtc-gateway/gw.toml >/dev/null || fail "check"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
settings=(--config /etc/wrtc-gateway/gw.toml --set "http.listen=127.0.0.1:$port" --set sip.listen=127.0.0.1:0
  --set media.listen=127.0.0.1:0 --set connector.tokens=connector-of-the-package-Dw43=5001)
kept_secret connector.tokens connector-of-the-package-Dw43
# As the service's user.
chroot --userspec=wrtc-gateway:wrtc-gateway "$chroot" /usr/bin/wrtc-gateway serve "${settings[@]}" \
  --set "$kept_log" >target/deploy/serve.log 2>&1 &
pid=$!
for _ in $(seq 300); do
  inside wrtc-gateway healthcheck "${settings[@]}" 2>/dev/null && break
  kill -0 "$pid" 2>/dev/null || fail "the gateway is gone: $(cat target/deploy/serve.log)"
  sleep 0.1
done
inside wrtc-gateway healthcheck "${settings[@]}" || fail "it does not answer: $(cat target/deploy/serve.log)"
kill -TERM "$pid"
wait "$pid" || fail "it did not end well: $(cat target/deploy/serve.log)"
pid=
keep package <target/deploy/serve.log

inside dpkg -i /tmp/wrtc-gateway.deb >target/deploy/dpkg.log 2>&1 || fail "upgrade: $(cat target/deploy/dpkg.log)"
inside grep -q '^servers = ' /etc/wrtc-gateway/gw.toml || fail "the upgrade has overwritten the configuration"
inside dpkg --purge wrtc-gateway >target/deploy/dpkg.log 2>&1 || fail "purge: $(cat target/deploy/dpkg.log)"
inside getent passwd wrtc-gateway >/dev/null && fail "the purge leaves the user"
[ ! -e "$chroot/etc/wrtc-gateway" ] || fail "the purge leaves /etc/wrtc-gateway"
echo "installed, run as its user, upgraded and purged in Debian $(cat "$chroot/etc/debian_version")"
