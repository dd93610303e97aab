#!/usr/bin/env bash
# The API against its own documents. What a page and WWE say and hear in calls is held against the JSON Schemas;
# then schemathesis asks a running demo whatever the document allows and what it
# does not. No answer may be a 5xx, or one that the document does not tell of.
#
#   tests/api/run.sh GATEWAY-BINARY PYTHON-VENV [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
gateway=$(realpath "$1") venv=$(realpath "$2") seconds=${3:-90}
export API_PASSWORD=secret-of-the-demo-Ls28 API_TOKEN=token-of-the-api-test-Nc95
. tests/wrote/keep.sh
kept_secret "a DN's password" "$API_PASSWORD"
kept_secret connector.tokens "$API_TOKEN"

work=$(mktemp -d)
demo=
cleanup() {
  if [ -n "$demo" ]; then
    kill "$demo" 2>/dev/null || true
    wait "$demo" 2>/dev/null || true
    # Its greeting is where the password is told.
    grep -aEv '^(sign in|try) ' "$work/demo" | keep demo || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

"$gateway" demo --password "$API_PASSWORD" --set http.listen=127.0.0.1:0 \
  --set "connector.tokens=$API_TOKEN=5001" --set connector.bare_paths=on --set "$kept_log" >"$work/demo" 2>&1 &
demo=$!
for _ in $(seq 200); do
  base=$(sed -nE 's|^open +(http://[^ ]*)/$|\1|p' "$work/demo")
  [ -z "$base" ] || break
  kill -0 "$demo" 2>/dev/null || break
  sleep 0.1
done
[ -n "${base:-}" ] || { cat "$work/demo" >&2; exit 1; }
"$venv/bin/python" tests/api/schemas.py "$base" "$API_PASSWORD" "$API_TOKEN"
for path in agents history 'calls?format=csv' 'calls/5001?bodies=1'; do curl -sS "$base/api/$path"; done | keep answers
curl -fsS -o /dev/null "$base/api/webrtc/sign_in" -d "id=agent123&dn=5001&password=$API_PASSWORD"

# What it keeps (a cache of examples, reports) is not to lie about in the tree.
spec=$PWD/api-spec/openapi.json
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$PWD/tests/api PYTHONDONTWRITEBYTECODE=1
cd "$work"
# After a drain all that follows would be refused; tests/protocol/drain.rs asks for it.
"$venv/bin/schemathesis" run "$spec" --url "$base" --max-time "$seconds" --phases examples,coverage,fuzzing \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,allow_header_conformance \
  --exclude-path /api/drain --request-timeout 40 --continue-on-failure --warnings off --seed 1 --no-color
kill -0 "$demo" || { echo "the gateway has ended" >&2; cat "$work/demo" >&2; exit 1; }
