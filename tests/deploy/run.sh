#!/usr/bin/env bash
# run.sh GATEWAY VENV: what deploy/ has, judged by the tools that will read it. tests/run.sh installs them.
set -euo pipefail
cd "$(dirname "$0")/../.."
gateway=$1 venv=$2

echo "container files, compose"
"$venv/bin/hadolint" --failure-threshold info --ignore DL3066 deploy/container/Containerfile deploy/compose/asterisk/Containerfile
"$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose/compose.yaml
# What the images are made from is there, and the configurations that they begin with have no fault but what is left open.
grep -oE '^COPY (--[a-z]+=[^ ]+ )*[^-].*' deploy/compose/asterisk/Containerfile | awk '{ for (i = 2; i < NF; i++) print $i }' |
  grep -v '^--' | while read -r file; do
  [ -e "deploy/compose/asterisk/$file" ] || { echo "FAILED: no deploy/compose/asterisk/$file" >&2; exit 1; }
done
for file in deploy/container/gw.toml deploy/compose/gw.toml deploy/debian/gw.toml; do
  env -i WRTC_SIP__SERVERS=sip:sip.example "$gateway" check --elsewhere --config "$file"
done

echo "shell scripts"
"$venv/bin/shellcheck" --external-sources --severity warning deploy/debian/postinst deploy/debian/postrm deploy/debian/prerm deploy/compose/asterisk/start.sh \
  tests/deploy/*.sh tests/wrote/keep.sh

mkdir -p target/deploy
echo "logrotate"
# This machine does not have the gateway's user.
sed 's/ wrtc-gateway wrtc-gateway$/ root root/' deploy/logrotate/wrtc-gateway >target/deploy/logrotate
chmod 0644 target/deploy/logrotate
if said=$(logrotate --debug target/deploy/logrotate 2>&1) && ! grep -i error <<<"$said"; then :; else
  echo "$said" >&2
  exit 1
fi

echo "Helm chart"
"$venv/bin/python" tests/deploy/helm.py "$gateway"

echo "systemd unit"
tests/deploy/systemd.sh "$gateway"

echo "Debian package"
skipped=0 status=0
tests/deploy/deb.sh || status=$?
case $status in
  0) ;;
  77) skipped=1 ;;
  *) exit "$status" ;;
esac
echo "deploy: passed, $skipped skipped"
