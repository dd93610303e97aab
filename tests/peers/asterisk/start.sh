#!/usr/bin/env bash
# start.sh ROOT: runs the chroot's Asterisk on free ports of 127.0.0.1 and prints "PID HOST:PORT" when it is up.
# Ended by TERM to that process. Its output is in ROOT.asterisk.log.
set -euo pipefail
root=$1
here=$(cd "$(dirname "$0")" && pwd)
etc=$root/peers
log=$root.asterisk.log

# A block of ports that nobody is bound to, between the gateway's own RTP ports and the system's ephemeral ones: SIP at
# its beginning, RTP behind it.
bound() { cat /proc/net/udp /proc/net/tcp | awk '{ print $2 }' | grep -qi ":$(printf %04X "$1")\$"; }
while :; do
  port=$((30000 + (RANDOM % 27) * 100))
  bound "$port" || bound "$((port + 2))" || bound "$((port + 50))" || break
done

mkdir -p "$etc"
for file in "$here"/etc/*.conf; do
  sed -e "s/{PORT}/$port/g; s/{RTP_FIRST}/$((port + 2))/g; s/{RTP_LAST}/$((port + 98))/g" \
    "$file" >"$etc/$(basename "$file")"
done
# What else it insists on.
for file in cdr cel features ccss acl udptl codecs stasis pjproject pjsip_wizard pjsip_notify websocket_client \
  chan_websocket res_stun_monitor res_http_media_cache cli_aliases http manager ari; do
  [ -e "$etc/$file.conf" ] || : >"$etc/$file.conf"
done
for dn in $(seq 5001 5040); do
  # The last four speak SRTP: two nothing else, two where the other side does.
  case $dn in
    5037 | 5038) kind=dn-sdes ;;
    5039 | 5040) kind=dn-optimistic ;;
    *) kind=dn ;;
  esac
  printf '[%s]('$kind')\nauth = %s\naors = %s\ncallerid = DN %s <%s>\n' "$dn" "$dn" "$dn" "$dn" "$dn"
  printf '[%s](dn-auth)\nusername = %s\npassword = pw-Ht5k-%s\n[%s](dn-aor)\n' "$dn" "$dn" "$dn" "$dn"
done >>"$etc/pjsip.conf"
# Music on hold that a meter knows again: ten seconds of 660 Hz, 16-bit samples at 8 kHz.
mkdir -p "$etc/moh" "$etc/run" "$etc/db" "$etc/log" "$etc/spool"
perl -e 'print pack("s<*", map { 8000 * sin(6.283185307 * 660 * $_ / 8000) } 0..79999)' >"$etc/moh/tone.sln"
# Contacts of an earlier run live there.
rm -f "$etc"/db/*
# It looks up its own name, and there may be no name server.
echo "127.0.0.1 localhost $(hostname)" >"$root/etc/hosts"
chroot "$root" chown -R asterisk:asterisk /peers

# No descriptor of the caller's is kept open: whoever reads our output sees its end.
setsid chroot "$root" /usr/sbin/asterisk -f -n -U asterisk -G asterisk -C /peers/asterisk.conf \
  >"$log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 300); do
  if chroot "$root" asterisk -C /peers/asterisk.conf -rx 'core waitfullybooted' >/dev/null 2>&1; then
    echo "$pid 127.0.0.1:$port"
    exit 0
  fi
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.2
done
kill "$pid" 2>/dev/null || true
echo "Asterisk did not come up: $(tail -3 "$log")" >&2
exit 1
