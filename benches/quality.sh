#!/usr/bin/env bash
# How Opus at 8 kHz sounds at each complexity, by PESQ of narrow band (ITU-T P.862): prompts in four languages from Debian's
# packages, as G.711 has them, through the gateway's encoder and decoder and back. Wants Debian, sox, python3-venv and PyPI.
#
#   bash benches/quality.sh
set -euo pipefail
cd "$(dirname "$0")/.."
at=$PWD/target/quality
mkdir -p "$at"
[ -x "$at/venv/bin/python" ] || python3 -m venv "$at/venv"
"$at/venv/bin/pip" install -q --disable-pip-version-check pesq==0.0.4 numpy==2.3.5
for language in en es fr ru; do
  package=asterisk-core-sounds-$language-wav
  [ -d "$at/$package" ] || (cd "$at" && apt-get download -qq "$package" && dpkg -x "$package"_*.deb "$package")
  find "$at/$package" -name '*.wav' -size +40k -size -200k | LC_ALL=C sort | awk 'NR % 7 == 0' | head -12 |
    xargs sh -c 'sox "$@" -r 8000 -c 1 -e u-law -b 8 "$0.wav"' "$at/$language"
  sox "$at/$language.wav" -e signed -b 16 -t raw "$at/$language.raw"
done
printf '| reported / lost | complexity | en | es | fr | ru | mean |\n|---|--:|--:|--:|--:|--:|--:|\n'
for case in '0 0' '13 0' '13 8'; do
  for complexity in 0 1 3 5 8 10; do
    for language in en es fr ru; do
      # shellcheck disable=SC2086
      cargo bench -q --bench codec -- --through "$at/$language.raw" "$at/$language.out" "$complexity" $case
    done
    "$at/venv/bin/python" - "$at" "$case" "$complexity" <<'END'
import sys
import numpy
from pesq import pesq

at, case, complexity = sys.argv[1:]
means = []
for language in ("en", "es", "fr", "ru"):
    said, heard = (numpy.fromfile(f"{at}/{language}.{end}", "<i2") for end in ("raw", "out"))
    ten = 80_000
    starts = range(0, min(len(said), len(heard)) - ten, ten)
    means.append(numpy.mean([pesq(8000, said[n:n + ten], heard[n:n + ten], "nb") for n in starts]))
reported, lost = case.split()
cells = " | ".join(f"{mean:.2f}" for mean in (*means, numpy.mean(means)))
print(f"| {int(reported) * 100 // 256} % / {lost} % | {complexity} | {cells} |")
END
  done
done
