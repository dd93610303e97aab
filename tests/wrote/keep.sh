# shellcheck shell=bash
# For scripts that start gateways: what these have written, and the secrets that they were used with, for
# `bash tests/run.sh secrets`. See keep.rs; without the variable GATEWAYS_WROTE nothing is kept.

# The log's level of a gateway that is looked through.
kept_log=log.level=info
# shellcheck disable=SC2034 # by who reads this file
[ -z "${GATEWAYS_WROTE:-}" ] || kept_log=log.level=wrtc_gateway=trace,hyper=trace,info

# kept_secret KIND SECRET: no gateway may write or show it.
kept_secret() {
  [ -z "${GATEWAYS_WROTE:-}" ] || printf '%s\t%s\n' "$1" "$2" >>"$GATEWAYS_WROTE/$$.secrets"
}

# keep NAME: what comes from standard input.
keep() {
  if [ -n "${GATEWAYS_WROTE:-}" ]; then head -c 16M >"$GATEWAYS_WROTE/$$.$1"; else cat >/dev/null; fi
}
