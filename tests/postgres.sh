#!/usr/bin/env bash
# Runs a command with a private PostgreSQL: tests/postgres.sh cargo test …
# The server listens on a socket in a directory of its own, never on the network, and is gone afterwards.
# POSTGRES_OPTIONS are the server's, such as "-c synchronous_commit=off".
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "postgres.sh: PostgreSQL is not installed (Debian: postgresql-15)" >&2; exit 1; }

# Not in $TMPDIR: the path of a socket is short, and somebody else must come to it.
dir=$(mktemp -d /tmp/kavadam-postgres.XXXXXX)
as=()
if [ "$(id -u)" = 0 ]; then # initdb refuses to run as root
  chown postgres "$dir"
  as=(runuser -u postgres --)
fi
stop() {
  (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop) >/dev/null 2>&1 || true
  rm -rf "$dir" "$dir.log"
}
trap stop EXIT
trap 'exit 130' INT TERM

(
  cd /
  "${as[@]}" "$bin/initdb" -D "$dir/data" -U kavadam -A trust -E UTF8 --no-locale >"$dir.log" 2>&1
  "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -s -w -l "$dir/log" \
    -o "-c listen_addresses='' -k $dir -c max_connections=200 ${POSTGRES_OPTIONS:-}" start
) || { cat "$dir.log" >&2; exit 1; }
rm -f "$dir.log"
chmod 755 "$dir"

export KAVADAM_TEST_POSTGRES="postgres:///postgres?host=$dir&user=kavadam"
"$@"
