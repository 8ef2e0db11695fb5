#!/usr/bin/env bash
# Lets libFuzzer look for inputs that fell a target; see --help.
set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C

usage() {
  cat <<END
Lets libFuzzer look for inputs that fell a target, one target after the other.

usage: tests/fuzz/run.sh [--runs N | --seconds N] [--memory MIB] [TARGET...]

  --runs N      so many executions of each target
  --seconds N   so long with each target (default: 60)
  --memory MIB  a process that grows beyond this has fallen (default: 128; they take about 30)
  TARGET        those alone; without, all of them:
$(printf '                  %s\n' $(ls corpus))

A target falls if an assertion in it fails or anything panics, if one input takes two seconds, or if it grows. The others run all the
same; the table at the end says what each did, and the exit status is 1 if one fell.

  tests/fuzz/run.sh --seconds 10                     a first look at all of them, three minutes
  nice -n 19 tests/fuzz/run.sh --runs 5000000        a night's work, on one core
  tests/fuzz/run.sh --runs 1000000 radius_packet

It leaves, beside this file: found/TARGET, inputs that reach new code, from which the next run goes on; found/TARGET.log, what libFuzzer
said; found/TARGET-fell/, what felled it. In tests/fuzz, to see it fall again, and to make the input smaller:

  TARGET=radius_packet cargo fuzz run --fuzz-dir libfuzzer --sanitizer none any found/radius_packet-fell/crash-…
  TARGET=radius_packet cargo fuzz tmin --fuzz-dir libfuzzer --sanitizer none any found/radius_packet-fell/crash-…

Mend the code, and put the smallest input into corpus/TARGET under a name that says what it is: \`cargo test -p kavadam-fuzz\` replays it.
END
}

fail() { echo "run.sh: $1" >&2; exit 2; }
number() { [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "$1 takes a number above 0, not '${2:-}'"; echo "$2"; }

bound=-max_total_time=60
memory=128
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit ;;
    --runs) value=$(number "$@"); bound=-runs=$value; shift 2 ;;
    --seconds) value=$(number "$@"); bound=-max_total_time=$value; shift 2 ;;
    --memory) memory=$(number "$@"); shift 2 ;;
    -*) fail "there is no $1; see --help" ;;
    *) [ -d "corpus/$1" ] || fail "there is no target '$1'; see --help"; targets+=("$1"); shift ;;
  esac
done
[ ${#targets[@]} -gt 0 ] || targets=($(ls corpus))
command -v cargo-fuzz >/dev/null || fail "cargo-fuzz is not installed: cargo install cargo-fuzz"

# Not through `cargo fuzz run`, whose own peak of memory would be told as the target's.
cargo fuzz build --fuzz-dir libfuzzer --sanitizer none any
built=$(cargo metadata --manifest-path libfuzzer/Cargo.toml --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
any=$built/$(rustc -vV | sed -n 's/^host: //p')/release/any

figure() { sed -n "s/^stat::$1: *//p" "found/$target.log" | tail -n 1; }

rows=()
fell=()
for target in "${targets[@]}"; do
  mkdir -p "found/$target" "found/$target-fell"
  echo "== $target" >&2
  began=${EPOCHREALTIME/./}
  end=
  TARGET=$target RUST_BACKTRACE=0 "$any" "found/$target" "corpus/$target" "$bound" -max_len=4200 -timeout=2 -rss_limit_mb="$memory" \
    -artifact_prefix="found/$target-fell/" -print_final_stats=1 >"found/$target.log" 2>&1 || end=fell
  took=$((${EPOCHREALTIME/./} - began))
  if [ -n "$end" ]; then
    fell+=("$target")
    grep -a -A 3 -m 1 -E 'panicked at|ERROR: libFuzzer' "found/$target.log" >&2 || tail -n 5 "found/$target.log" >&2
  fi
  runs=$(figure number_of_executed_units)
  rows+=("$target|$runs|$((${runs:-0} * 1000000 / took))|$(figure peak_rss_mb)|$end")
done
printf '%s\n' 'target|executions|a second|peak MiB|' "${rows[@]}" | column -t -s '|' -R 2,3,4
[ ${#fell[@]} -eq 0 ] || { echo "fell: ${fell[*]}; see found/TARGET.log and found/TARGET-fell" >&2; exit 1; }
