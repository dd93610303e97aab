#!/usr/bin/env bash
# Signs in, calls a number with an SDP that has no media behind it, prints the far end's answer, hangs up.
#
#   wrtc-gateway demo --password secret
#   bash examples/curl/walkthrough.sh http://127.0.0.1:8086 secret
set -euo pipefail
gateway=${1:?usage: walkthrough.sh GATEWAY PASSWORD [DN] [NUMBER]}
password=${2:?the password of the DN}
dn=${3:-5001}
number=${4:-1003}
api=$gateway/api/webrtc

curl -fsS --data-urlencode "id=agent123" --data-urlencode "dn=$dn" --data-urlencode "password=$password" "$api/sign_in"
echo
trap 'curl -fsS "$api/sign_out?id=agent123" >/dev/null' EXIT

offer='v=0
o=- 1234567890 1234567890 IN IP4 127.0.0.1
s=-
t=0 0
m=audio 9 UDP/TLS/RTP/SAVPF 0 8
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=sendrecv'
curl -fsS --data-binary "$offer" -H 'Content-Type: application/sdp' "$api/message?from=agent123&to=$number"
echo
curl -fsS "$api/message?id=agent123"
curl -fsS --data-binary BYE -H 'Content-Type: text/plain' "$api/message?from=agent123" >/dev/null
