#!/usr/bin/env bash
# Installs what building, showing or testing needs and is not there yet: Debian packages, and Rust through rustup.
# usage: tests/setup.sh build|run|test|bench
set -euo pipefail

for_what=${1:-build}
least_rust=1.94

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

packages=(build-essential pkg-config curl ca-certificates)
case $for_what in
  build) ;;
  run | test | bench)
    [ "$(id -u)" = 0 ] || fail "root is needed, for network namespaces and packages: sudo make $for_what"
    packages+=(nftables iproute2 dnsmasq-base udhcpc openssl iputils-ping procps)
    ;;&
  test) packages+=(postgresql-15 freeradius-utils chromium chromium-driver fonts-noto-core) ;;
  bench) packages+=(freeradius) ;;
  run) ;;
  *) fail "say build, run, test or bench" ;;
esac

probe= policy=
cleanup() {
  [ -z "$policy" ] || rm -f "$policy"
  [ -z "$probe" ] || ip netns del "$probe" 2>/dev/null || true
}
trap cleanup EXIT

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "missing packages: ${missing[*]}; install them, or run this as root"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Services that packages would start are not ours to start: tests run private ones.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    policy=/usr/sbin/policy-rc.d
  fi
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
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

if [ "$for_what" != build ]; then
  probe="kvprobe$$"
  ip netns add "$probe" 2>/dev/null || fail "this machine cannot make network namespaces (ip netns add): use a full virtual machine or a privileged container"
  ip netns exec "$probe" nft add table inet probe 2>/dev/null || fail "this kernel has no usable nftables (CONFIG_NF_TABLES_INET)"
fi
