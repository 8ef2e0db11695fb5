#!/usr/bin/env bash
# Where the processor time of the centre goes under load:
#   cargo build --release -p kavadam-server -p kavadam-bench --bins
#   tests/profile.sh acct                          (on SQLite; or auth, reauth, mix)
#   tests/postgres.sh tests/profile.sh acct postgres
# Needs root, and perf (Debian: linux-perf). Prints a table, and leaves the samples in target/profile.data for `perf report`.
set -euo pipefail
cd "$(dirname "$0")/.."

scenario=${1:?which scenario: auth, reauth, acct or mix}
database=${2:-sqlite}
load=target/release/kavadam-load
netns=kvprofile$$
data=target/profile.data
seconds=8

log=$(mktemp)
"$load" hold --database "$database" --netns "$netns" 2>"$log" &
holder=$!
end() {
  kill -INT $holder 2>/dev/null || true
  wait $holder 2>/dev/null || true
  rm -f "$log"
}
trap end EXIT
echo "setting up…" >&2
until grep -q '^server .* runs' "$log"; do
  kill -0 $holder 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.2
done
server=$(sed -n 's/^server \([0-9]*\) runs.*/\1/p' "$log")
arguments=$(sed -n 's/.*\$(cat \([^)]*\)).*/\1/p' "$log")
# shellcheck disable=SC2046
ip netns exec "$netns" "$load" run $(cat "$arguments") \
  --scenario "$scenario" --in-flight 1024 --seconds $((seconds + 3)) >/dev/null &
loader=$!
sleep 4
perf record -q -e cpu-clock -F 199 --call-graph dwarf,8192 -p "$server" -o "$data" -- sleep $seconds
wait $loader
end
trap - EXIT
perf script -i "$data" -F comm,ip,sym,dso 2>/dev/null | awk -f tests/profile.awk
