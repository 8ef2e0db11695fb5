#!/bin/sh
# Takes a picture of every page of the portal: English and Malayalam, 360 px and 1280 px wide, light; a few in the dark.
# Needs cargo, chromium, chromedriver, curl, jq, and a Malayalam font (Debian: chromium chromium-driver curl jq
# fonts-smc-manjari or fonts-noto-core). Usage: take.sh [directory to write to]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
port=${PREVIEW_PORT:-8099}
driver_port=${DRIVER_PORT:-9599}
scratch=$(mktemp -d)
pids=
# Ends only what this script started.
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || :; done; wait; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

cd "$here/../../portal"
cargo build -q --example preview
target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
"$target/debug/examples/preview" "127.0.0.1:$port" & pids="$pids $!"
chromedriver --port="$driver_port" >"$scratch/driver.log" 2>&1 & pids="$pids $!"
until curl -sf "http://127.0.0.1:$port/" >"$scratch/list" && curl -sf "http://127.0.0.1:$driver_port/status" >/dev/null; do sleep 0.2; done

driver=http://127.0.0.1:$driver_port/session
post() { curl -sf -H 'content-type: application/json' -d "$2" "$driver$1"; }

# A phone's screen is emulated: a window cannot be narrower than 500 px.
open_browser() { # width height mobile profile
    session=$(post '' "$(jq -n --argjson w "$1" --argjson h "$2" --argjson m "$3" --arg dir "$scratch/$4" '
        {capabilities: {alwaysMatch: {browserName: "chrome", "goog:chromeOptions": {
            args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--user-data-dir=" + $dir],
            mobileEmulation: {deviceMetrics: {width: $w, height: $h, pixelRatio: 1, mobile: $m, touch: $m}}}}}}')" |
        jq -r .value.sessionId)
}
colours() { post "/$session/goog/cdp/execute" "{\"cmd\":\"Emulation.setEmulatedMedia\",\"params\":{\"features\":[
    {\"name\":\"prefers-color-scheme\",\"value\":\"$1\"},{\"name\":\"prefers-reduced-motion\",\"value\":\"reduce\"}]}}" >/dev/null; }
shoot() { # path file
    post "/$session/url" "{\"url\":\"http://127.0.0.1:$port$1\"}" >/dev/null
    post "/$session/goog/cdp/execute" \
        '{"cmd":"Page.captureScreenshot","params":{"format":"webp","quality":40,"captureBeyondViewport":true}}' |
        jq -r .value.data | base64 -d >"$out/$2"
}

pages=$(grep -o '/[a-z]*/[a-z-]*' "$scratch/list" | sort -u)
for width in 360 1280; do
    if [ $width = 360 ]; then open_browser 360 720 true phone; else open_browser 1280 720 false desk; fi
    colours light
    for page in $pages; do shoot "$page" "$(basename "$page")-$(basename "$(dirname "$page")")-$width.webp"; done
    if [ $width = 360 ]; then
        colours dark
        for page in /ml/number /en/code /ml/status /en/used-up; do
            shoot "$page" "$(basename "$page")-$(basename "$(dirname "$page")")-dark.webp"
        done
    fi
    curl -sf -X DELETE "$driver/$session" >/dev/null
done
du -ch "$out"/*.webp | tail -1
