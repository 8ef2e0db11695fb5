#!/usr/bin/env bash
# Lets libFuzzer look for inputs that fell a target. usage: tests/fuzz/run.sh [TARGET [SECONDS]]
set -euo pipefail
cd "$(dirname "$0")"

command -v cargo-fuzz >/dev/null || { echo "run.sh: cargo-fuzz is not installed: cargo install cargo-fuzz" >&2; exit 1; }
targets=(${1:-$(ls corpus)})
seconds=${2:-60}
for target in "${targets[@]}"; do
  mkdir -p "found/$target"
  echo "== $target, $seconds s"
  TARGET=$target cargo fuzz run --fuzz-dir libfuzzer --sanitizer none any "found/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4200 -timeout=5 -print_final_stats=1
done
