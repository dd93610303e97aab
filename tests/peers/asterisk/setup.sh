#!/usr/bin/env bash
# setup.sh ROOT: Asterisk in a chroot of its own. Debian 12 has no package of it, Debian sid has; the mirror is the
# one this machine's apt uses. Some 640 MiB and a minute, once.
#
# Exit 77 and a line that says why where it cannot be had.
set -euo pipefail
root=$1
suite=sid
log=$root.log

cannot() { echo "$*" >&2; exit 77; }

[ ! -x "$root/usr/sbin/asterisk" ] || exit 0
[ "$(id -u)" = 0 ] || cannot "debootstrap and chroot want root"
command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -m1 '/debian/\?$') ||
  cannot "apt knows no Debian mirror"

mkdir -p "$(dirname "$root")"
new=$root.new
# What a broken attempt left; nothing mounted below it is touched.
rm -rf --one-file-system "$new"
debootstrap --variant=minbase "$suite" "$new" "$mirror" >"$log" 2>&1 ||
  cannot "debootstrap $suite failed: $(tail -1 "$log")"
# The package must start nothing.
printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
chmod +x "$new/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$new/etc/resolv.conf"
# A mirror that is a snapshot may have a release file whose date has passed.
chroot "$new" apt-get update -qq -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false \
  >>"$log" 2>&1 || cannot "apt-get update in the chroot failed: $(tail -1 "$log")"
chroot "$new" env DEBIAN_FRONTEND=noninteractive LC_ALL=C RUNLEVEL=1 apt-get install -y -qq \
  --no-install-recommends asterisk asterisk-modules >>"$log" 2>&1 ||
  cannot "installing Asterisk in the chroot failed: $(tail -1 "$log")"
mv "$new" "$root"
