#!/usr/bin/env bash
# Print where Chromium is, installing Debian's where there is none; print what is missing and end with 77 where that cannot be.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    command -v "$name" && exit
done
[ "$(id -u)" = 0 ] || { echo "no browser: chromium is not installed, and only root can install it"; exit 77; }
command -v apt-get >/dev/null || { echo "no browser: chromium is not installed, and there is no apt-get"; exit 77; }
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/tmp/chromium-apt.log 2>&1 ||
    { echo "no browser: apt-get could not install chromium: $(tail -1 /tmp/chromium-apt.log)"; exit 77; }
command -v chromium
