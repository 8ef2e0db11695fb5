#!/usr/bin/env bash
# What a packet up costs at variants of the gate, against plain forwarding in the same round: the figures under "What was tried" in docs/benchmarks.md.
# As root, after `make bench-gate`; needs clang-14, bpftool, iproute2 and python3. It makes namespaces of its own and removes them.
#
#   tests/bench/tried/measure.sh [ROUNDS] [SESSIONS]
set -euo pipefail
rounds=${1:-11} sessions=${2:-10000}
here=$(cd "$(dirname "$0")" && pwd)
bench=$here/../../../target/release/kavadam-gate-bench
own=$(mktemp -d)
variants=(plain router ebpf uncounted frame maps ours)
name() { echo "kvt$$-$1-$2"; }
inside() { local netns; netns=$(name "$1" "$2"); shift 2; ip netns exec "$netns" "$@"; }
trap 'for v in "${variants[@]}"; do for end in c g i; do ip netns del "$(name "$v" $end)" 2>/dev/null || true; done; done; rm -rf "$own"' EXIT

# Devices, gateway, internet.
world() {
  local v=$1 end
  for end in c g i; do ip netns add "$(name "$v" $end)"; inside "$v" $end ip link set lo up; done
  inside "$v" g ip link add lan0 type veth peer name eth0 netns "$(name "$v" c)"
  inside "$v" g ip link add wan0 type veth peer name eth0 netns "$(name "$v" i)"
  inside "$v" i ip address add 198.51.100.1/24 dev eth0
  inside "$v" i ip address add 203.0.113.10/32 dev lo
  inside "$v" g ip address add 10.0.0.1/8 dev lan0
  inside "$v" g ip address add 198.51.100.2/24 dev wan0
  for end in c:eth0 g:lan0 g:wan0 i:eth0; do inside "$v" ${end%:*} ip link set ${end#*:} up; done
  inside "$v" g ip route add default via 198.51.100.1
  inside "$v" i ip route add 10.0.0.0/8 via 198.51.100.2
  inside "$v" g sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
  inside "$v" i nft 'table netdev sink { chain in { type filter hook ingress device eth0 priority 0; policy accept; udp dport 9 drop; }; }'
}

router() { # VARIANT, and what a packet up must be
  inside "$1" g nft "table inet router {
    chain forward { type filter hook forward priority 0; policy drop; iifname lan0 oifname wan0 $2 accept; iifname wan0 oifname lan0 ct state established accept; }
    chain out { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }; }"
}

# Our rules, of which one is replaced by another: VARIANT, CHAIN, what it has in it, the other.
ours() {
  inside "$1" g "$bench" fill "$sessions" >/dev/null
  [ $# -gt 1 ] || return 0
  local handle
  handle=$(inside "$1" g nft -a list chain inet kavadam "$2" | sed -n "/$3/s/.*handle //p" | head -1)
  inside "$1" g nft replace rule inet kavadam "$2" handle "$handle" "$4"
}

meter() {
  clang-14 -O2 -g -target bpf -c "$here/meter.c" -o "$own/meter.o"
  inside ebpf g tc qdisc add dev lan0 clsact
  inside ebpf g tc filter add dev lan0 ingress bpf da obj "$own/meter.o" sec tc
  local id
  id() { bpftool -j map list | python3 -c "import json,sys; print([m['id'] for m in json.load(sys.stdin) if m.get('name') == '$1'][-1])"; }
  python3 - "$sessions" "$(id sessions)" "$(id pools)" >"$own/batch" <<'P'
import struct, sys
count, sessions, pools = map(int, sys.argv[1:])
written = lambda octets: " ".join(f"{octet:02x}" for octet in octets)
for n in range(count):
    key = bytes([2, 0]) + n.to_bytes(4, "big") + b"\0\0" + (0x0a100000 + n).to_bytes(4, "big")
    session = struct.pack("<IIQQQQQQQII", 0, n * 2 + 1, 1, 1 << 62, 1 << 62, 0, 0, 0, 0, n, 0)
    print(f"map update id {sessions} key hex {written(key)} value hex {written(session)}")
    pool = struct.pack("<IIQQ", 0, 0, 0, 1 << 60)
    print(f"map update id {pools} key hex {written(struct.pack('<I', n))} value hex {written(pool)}")
P
  bpftool batch file "$own/batch" >/dev/null
}

for v in "${variants[@]}"; do world "$v"; done
router router ''
router ebpf 'meta mark != 0 ct mark set meta mark'
meter
ours ours
ours uncounted uplink_known lim_up 'meta mark @lim_up ct mark set meta mark quota name meta mark map @total accept'
ours frame lan_raw 'ip saddr map' 'meta mark set ether saddr . ip saddr map @auth4 accept'
ours maps forward lan0 'iifname . oifname vmap { "lan0" . "wan0" : goto uplink }'

send() { # VARIANT: nanoseconds for a packet
  local gateway
  gateway=$(inside "$1" g cat /sys/class/net/lan0/address)
  inside "$1" c chrt -f 20 taskset -c 1 "$bench" send --way up --interface eth0 --gateway "$gateway" --devices "$sessions" --flows 4096 --millis 300 |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["nanos"])'
}
for ((round = 0; round < rounds; round++)); do
  for v in "${variants[@]}"; do printf '%s ' "$(send "$v")"; done
  echo
done | python3 -c '
import statistics, sys
names = sys.argv[1:]
rows = [list(map(float, line.split())) for line in sys.stdin]
for at, name in enumerate(names):
    nanos, times = [row[at] for row in rows], [row[at] / row[0] for row in rows]
    print(f"{name:10} {statistics.median(nanos):6.0f} ns  {statistics.median(times):.3f} of plain")' "${variants[@]}"
