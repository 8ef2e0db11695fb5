# Makes of each unit one for the gate of another LAN on the same machine: kavadam@lan1.service is of /etc/kavadam/lan1.toml, and has directories of
# its own, /var/lib/kavadam-lan1, /var/lib/kavadam-dnsmasq-lan1 and /run/kavadam-lan1.
s|/etc/kavadam/kavadam\.toml|/etc/kavadam/%i.toml|g
s|^StateDirectory=\(.*\)$|StateDirectory=\1-%i|
s|^RuntimeDirectory=\(.*\)$|RuntimeDirectory=\1-%i|
s|^InaccessiblePaths=.*$|& -/run/kavadam-%i -/var/lib/kavadam-%i -/var/lib/kavadam-dnsmasq-%i|
s/kavadam\(-closed\|-dnsmasq\|-advertise\)\{0,1\}\.service/kavadam\1@%i.service/g
s|^Description=.*$|& (%i)|
