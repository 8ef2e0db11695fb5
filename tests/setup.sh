#!/usr/bin/env bash
# Installs what building, showing or testing needs and is not there yet: Debian packages, and Rust through rustup. Then tries
# what the kernel must be able to do.
# usage: tests/setup.sh build|run|test|bench|bench-radius|bench-gate
set -euo pipefail

for_what=${1:-build}
least_rust=1.94

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

packages=(build-essential pkg-config curl ca-certificates)
case $for_what in
  build) ;;
  run | test | bench | bench-radius | bench-gate)
    [ "$(id -u)" = 0 ] || fail "root is needed, for network namespaces and packages: sudo make $for_what"
    packages+=(nftables iproute2 dnsmasq-base udhcpc openssl iputils-ping procps)
    ;;&
  test)
    packages+=(postgresql-15 sqlite3 chromium chromium-driver fonts-noto-core iodine)
    # Strangers who speak RADIUS: clients, a server and proxy, a supplicant, a NAS, a proxy, an eye on the wire.
    packages+=(freeradius-utils freeradius eapoltest hostapd wpasupplicant radsecproxy tshark)
    # An IPv6 provider: who delegates prefixes, who is given them, who translates to IPv4.
    packages+=(kea-dhcp6-server dhcpcd-base tayga)
    # A machine that boots with our units.
    packages+=(systemd)
    ;;
  bench) packages+=(freeradius iperf3 ethtool) ;;
  bench-radius) packages+=(freeradius freeradius-postgresql postgresql-15 sqlite3) ;;
  bench-gate) packages+=(iperf3 ethtool util-linux sqlite3) ;;
  run) ;;
  *) fail "say build, run, test, bench, bench-radius or bench-gate" ;;
esac

probe= policy= createcluster=
cleanup() {
  # Only what we put there ourselves.
  [ -z "$policy" ] || rm -f "$policy"
  if [ -n "$createcluster" ]; then
    rm -f "$createcluster" "$createcluster.ucf-dist"
    cp /usr/share/postgresql-common/createcluster.conf "$createcluster" 2>/dev/null || true
  fi
  [ -z "$probe" ] || ip netns del "$probe" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "missing packages: ${missing[*]}; install them, or run this as root"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Services that packages would start are not ours to start: tests run private ones.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  # Nor is a database cluster; whoever installs PostgreSQL later shall get one as usual.
  if [[ " ${missing[*]} " = *" postgresql-15 "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    createcluster=/etc/postgresql-common/createcluster.conf
    mkdir -p "${createcluster%/*}"
    echo 'create_main_cluster = false' >"$createcluster"
  fi
  apt-get update -qq >&2
  # UCF…: a file of ours where a package brings its own is kept, without a question.
  UCF_FORCE_CONFFOLD=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  # Installed to be measured or to test against, not to serve anybody at the next boot.
  for service in freeradius hostapd radsecproxy wpa_supplicant kea-dhcp6-server tayga; do
    package=${service/wpa_supplicant/wpasupplicant}
    if [[ " ${missing[*]} " = *" $package "* ]] && command -v systemctl >/dev/null; then
      systemctl disable -q "$service" 2>/dev/null || true
    fi
  done
fi

export PATH="$HOME/.cargo/bin:$PATH"
rust_version() { rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p'; }
is_old() { [ "$(printf '%s\n%s\n' "$least_rust" "$1" | sort -V | head -n 1)" != "$least_rust" ]; }
have=$(rust_version || true)
if [ -z "$have" ] || is_old "$have"; then
  say "installing Rust (have: ${have:-none}, needed: $least_rust)"
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal --component clippy,rustfmt >&2
    rustup default stable >&2
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt >&2
  fi
fi

# Each feature is tried in a namespace of its own, and what is missing is named with its remedy.
kernel="use a kernel that has it (Debian's own does), or a full virtual machine in place of a container"
try() { # WHAT REMEDY COMMAND…
  local what=$1 remedy=$2
  shift 2
  ip netns exec "$probe" "$@" >/dev/null 2>&1 || fail "this machine cannot do $what: $remedy"
}
try_rule() { # WHAT OPTION RULE…
  try "$1 ($2)" "$kernel" nft "add table inet probe; add chain inet probe c; $3"
}
if [ "$for_what" != build ]; then
  ip netns add "kvprobe$$" 2>/dev/null ||
    fail "this machine cannot make network namespaces (ip netns add): use a full virtual machine or a privileged container"
  probe="kvprobe$$"
  try 'virtual cables (veth, CONFIG_VETH)' "$kernel" ip link add kvp0 type veth peer name kvp1
  try 'bridges (CONFIG_BRIDGE)' "$kernel" ip link add kvbr0 type bridge
  try 'IPv6' "take ipv6.disable=1 off the kernel's command line, or $kernel" \
    sh -c 'ip link set lo up && ip -6 addr add fd00:80::1/64 dev lo'
  try 'nftables (CONFIG_NF_TABLES_INET)' "$kernel" nft 'add table inet probe'
  try_rule 'nftables quotas' CONFIG_NFT_QUOTA 'add quota inet probe q { over 1 mbytes }; add rule inet probe c quota name q drop'
  try_rule 'nftables limits' CONFIG_NFT_LIMIT 'add rule inet probe c limit rate 1 mbytes/second accept'
  try_rule 'connection tracking in nftables' CONFIG_NFT_CT 'add rule inet probe c ct mark set meta mark'
  try_rule 'address translation in nftables' CONFIG_NFT_NAT \
    'add chain inet probe n { type nat hook postrouting priority 100; }; add rule inet probe n masquerade'
  try_rule 'refusals by nftables' CONFIG_NFT_REJECT_INET 'add rule inet probe c meta l4proto tcp reject with tcp reset'
  try_rule 'route lookups in nftables' CONFIG_NFT_FIB_INET \
    'add chain inet probe p { type filter hook prerouting priority 0; }; add rule inet probe p fib daddr type local accept'
  if [ "$for_what" = test ]; then
    # What is mounted there is seen there alone.
    try 'a file system over another (CONFIG_OVERLAY_FS)' "$kernel" sh -ec \
      'mount -t tmpfs probe /mnt; cd /mnt; mkdir upper work root; mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root'
    # In a namespace of its own: from the first one the mount would set the host's own options.
    try 'control groups (cgroup2, with cgroup.kill: Linux 5.14)' "$kernel" unshare --cgroup sh -ec \
      "mount -t cgroup2 probe /mnt; mkdir /mnt/$probe; code=0; test -e /mnt/$probe/cgroup.kill || code=1; rmdir /mnt/$probe; exit \$code"
  fi
fi
