#!/bin/sh
# The DNs' password is the environment's: none is in the image.
set -eu
: "${DN_PASSWORD:?give DN_PASSWORD, the password of the DNs 5001 to 5003}"
for dn in 5001 5002 5003; do
    printf '[%s](dn)\nauth=%s\naors=%s\ncallerid=DN %s <%s>\n' "$dn" "$dn" "$dn" "$dn" "$dn"
    printf '[%s](dn-auth)\nusername=%s\npassword=%s\n[%s](dn-aor)\n' "$dn" "$dn" "$DN_PASSWORD" "$dn"
done >/etc/asterisk/dns.conf
exec /usr/sbin/asterisk -f -n
