"""Decodes a corpus of audio files with Quartet and with ffmpeg and compares the samples: scripts/formats runs this.

The reference is ffmpeg's decoding at the file's own rate and layout, mixed down here by channel positions as ITU-R
BS.775 does it. Samples are compared where they lie; no offset is looked for, except to say what is wrong. Files at
44.1 kHz are compared sample by sample. For others ffmpeg's samples are resampled by soxr, and the two are compared
below four fifths of the lower half rate, where all good resamplers agree. Of HE-AAC the upper band is compared by its
level alone.
"""

import argparse
import fnmatch
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formats_corpus import ALL, LONG, QUICK, Case, corpus

RATE = 44_100
# Resamplers differ by this much within the band that is compared.
RESAMPLED_BOUND = 80.0
# HE-AAC: below this, in Hz, samples are compared, above the other only their level, which may differ by so many dB.
CORE, UPPER, UPPER_DIFFERENCE = 5_500, 11_000, 3.0
HALF_POWER = math.sqrt(0.5)
# Share of each channel in left and right.
GAINS = {
    "FL": (1, 0), "FR": (0, 1), "FC": (HALF_POWER, HALF_POWER), "LFE": (0, 0), "BL": (HALF_POWER, 0), "BR": (0, HALF_POWER),
    "SL": (HALF_POWER, 0), "SR": (0, HALF_POWER), "BC": (0.5, 0.5),
}  # fmt: skip
LAYOUTS = {
    "stereo": "FL FR", "2.1": "FL FR LFE", "3.0": "FL FR FC", "3.0(back)": "FL FR BC", "3.1": "FL FR FC LFE",
    "4.0": "FL FR FC BC", "quad": "FL FR BL BR", "quad(side)": "FL FR SL SR", "4.1": "FL FR FC LFE BC",
    "5.0": "FL FR FC BL BR", "5.0(side)": "FL FR FC SL SR", "5.1": "FL FR FC LFE BL BR", "5.1(side)": "FL FR FC LFE SL SR",
    "6.0": "FL FR FC BC SL SR", "6.1": "FL FR FC LFE BC SL SR", "6.1(back)": "FL FR FC LFE BL BR BC",
    "7.0": "FL FR FC BL BR SL SR", "7.1": "FL FR FC LFE BL BR SL SR",
}  # fmt: skip
# What Quartet takes a number of channels for where the file does not say: as FLAC does (RFC 9639, section 9.1.3).
# ffmpeg takes three for 2.1 and four for 4.0.
USUAL = {2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass
class Result:
    case: Case
    ok: bool
    verdict: str
    theirs: str = ""
    ours: str = ""
    ratio: str = ""
    memory: str = ""
    processor: str = ""


@dataclass
class Reference:
    samples: np.ndarray
    rate: int


def reference(path, folder):
    """ffmpeg's decoding as stereo at the file's own rate; none if it takes the file for nothing."""
    asked = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json", "-show_entries",
         "stream=codec_name,sample_rate,channels,channel_layout", path], capture_output=True, check=False)  # fmt: skip
    try:
        streams = json.loads(asked.stdout).get("streams", [])
    except ValueError:
        # ffprobe leaves its object open when it cannot open the file.
        return None
    if not streams or int(streams[0].get("channels", 0)) == 0 or int(streams[0].get("sample_rate", 0)) == 0:
        return None
    stream, out = streams[0], folder / "theirs.f32"
    # The reference decoder for Opus, and floats where ffmpeg's first choice are integers.
    better = {"opus": "libopus", "mp2": "mp2float", "mp1": "mp1float"}.get(stream["codec_name"])
    decoder = ["-c:a", better, "-request_sample_fmt", "flt"] if better else []
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *decoder, "-i", path, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", out],
        capture_output=True, check=False)  # fmt: skip
    channels = int(stream["channels"])
    if not out.exists() or out.stat().st_size < 4 * channels:
        return None
    usable = out.stat().st_size // (4 * channels) * channels
    raw = np.memmap(out, dtype="<f4", mode="r", shape=(usable // channels, channels))
    return Reference(downmixed(raw, stream.get("channel_layout"), folder), int(stream["sample_rate"]))


def downmixed(raw, layout, folder):
    channels = raw.shape[1]
    if channels == 2:
        return raw
    mixed = np.memmap(folder / "mixed.f32", dtype="<f4", mode="w+", shape=(len(raw), 2))
    names = LAYOUTS.get(layout or "", LAYOUTS.get(USUAL.get(channels, ""), "")).split()
    gains = np.array([GAINS[name] for name in names] if channels > 1 else [(1, 1)])
    for begin in range(0, len(raw), 1 << 22):
        mixed[begin : begin + (1 << 22)] = raw[begin : begin + (1 << 22)].astype("f8") @ gains
    return mixed


def resampled(samples, rate, folder):
    """At 44.1 kHz, of the length that Quartet gives it."""
    source, out = folder / "native.f64", folder / "resampled.f64"
    samples.astype("<f8").tofile(source)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "f64le", "-ar", str(rate), "-ac", "2", "-i", source, "-af",
         f"aresample={RATE}:resampler=soxr:precision=33:osf=dbl", "-f", "f64le", out], check=True)  # fmt: skip
    wanted = (len(samples) * RATE + rate // 2) // rate
    made = np.fromfile(out, dtype="<f8").reshape(-1, 2)
    if len(made) < wanted:
        made = np.concatenate([made, np.zeros((wanted - len(made), 2))])
    return made[:wanted]


def ours(decoder, path, folder):
    """Quartet's samples or its words, and its seconds of processor."""
    out = folder / "ours.f32"
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(["timeout", "900", decoder, path, out], stdout=words, stderr=noise)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        noise.seek(0)
        said, told = words.read().decode(errors="replace"), noise.read().decode(errors="replace")
    try:
        answer = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        answer = {"error": f"DIED with {process.returncode}: {told.strip()[-200:]}", "died": True}
    frames = None
    if "error" not in answer:
        count = out.stat().st_size // 8
        frames = np.memmap(out, dtype="<f4", mode="r", shape=(count, 2)) if count else np.zeros((0, 2), "<f4")
    return frames, answer, usage.ru_utime + usage.ru_stime


def decibels(signal, noise):
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def ratio(theirs, mine, top=None):
    """The SNR in dB; with `top` that of the band below so many Hz."""
    signal = noise = 0.0
    step = 1 << 22
    for begin in range(0, min(len(theirs), len(mine)), step):
        end = min(begin + step, len(theirs), len(mine))
        want = np.asarray(theirs[begin:end], "f8")
        error = np.asarray(mine[begin:end], "f8") - want
        if not np.isfinite(error).all():
            return -math.inf
        if top is not None:
            # A window, so that the ends of a block do not spread over all frequencies.
            window = np.ones(end - begin)
            edge = min(2048, (end - begin) // 4)
            if edge:
                ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
                window[:edge], window[-edge:] = ramp, ramp[::-1]
            last = int(top * (end - begin) / RATE) + 1
            want = np.abs(np.fft.rfft(want * window[:, None], axis=0)[:last])
            error = np.abs(np.fft.rfft(error * window[:, None], axis=0)[:last])
        signal += float(np.sum(want * want))
        noise += float(np.sum(error * error))
    return decibels(signal, noise)


def upper_level(theirs, mine):
    """How much louder ours is than ffmpeg's above UPPER, in dB."""
    count = min(len(theirs), len(mine), 1 << 20)
    first = UPPER * count // RATE
    want, have = (np.sum(np.abs(np.fft.rfft(each[:count], axis=0)[first:]) ** 2) for each in (theirs, mine))
    return decibels(float(have), float(want))


def lag(theirs, mine, most=4608):
    """By how many frames ours is late, and the SNR there; for a diagnosis."""
    count = min(len(theirs), len(mine), 1 << 19)
    if count < 4 * most:
        return None
    want, have = (np.asarray(each[:count], "f8").mean(axis=1) for each in (theirs, mine))
    size = 1 << (2 * count - 1).bit_length()
    match = np.fft.irfft(np.conj(np.fft.rfft(want, size)) * np.fft.rfft(have, size), size)
    match = np.concatenate([match[-most:], match[: most + 1]])
    best = int(np.argmax(match)) - most
    a, b = (want[: count - best], have[best:]) if best >= 0 else (want[-best:], have[: count + best])
    return best, decibels(float(np.sum(a * a)), float(np.sum((a - b) ** 2)))


def shown(value):
    return "equal" if value == math.inf else "none" if value == -math.inf else f"{value:.1f}"


def pieces_of(samples, pieces):
    return np.concatenate([np.asarray(samples[first : first + count]) for first, count in pieces])


def compare(case, path, like, decoder, scratch):
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        theirs = reference(like or path, folder)
        mine, answer, processor = ours(decoder, path, folder)
        memory = str(answer.get("memory_kb", 0) // 1024)
        result = Result(case, True, "", memory=memory, processor=f"{processor * 1000:.0f}")
        if theirs is not None:
            if case.pieces:
                theirs.samples = pieces_of(theirs.samples, case.pieces)
            result.theirs = f"{len(theirs.samples) / theirs.rate:.4f}"
        judge(case, result, theirs, mine, answer, folder)
        return result


def judge(case, result, theirs, mine, answer, folder):
    """Fills in the result's verdict."""
    def fail(words):
        result.ok, result.verdict = False, f"**{words}**"

    if mine is None:
        result.ours = answer["error"]
        if answer.get("died"):
            return fail("died")
        if case.expect == "decode":
            return fail("refused")
        result.verdict = "refused"
        return None
    result.ours = f"{len(mine) / RATE:.4f}"
    if case.expect == "refuse":
        return fail("taken")
    if theirs is None:
        result.verdict = "ffmpeg cannot read it"
        return None
    if answer["promised"] != len(mine):
        return fail(f"probe says {answer['promised']} frames, decoding gives {len(mine)}")
    want, top, bound = theirs.samples, None, case.bound
    if theirs.rate != RATE:
        want = resampled(want, theirs.rate, folder)
        # Opus is bounded by its own band too.
        top, bound = 0.4 * min(theirs.rate, RATE), min(bound, RESAMPLED_BOUND)
    if case.kind == "he-aac":
        top = CORE
    if case.kind == "mp3" and theirs.rate == 24_000:
        # One band of scale factors begins at line 332 (ISO/IEC 13818-3, table B.2; LAME, Symphonia), in ffmpeg at 330.
        bound = 40.0
    skip = case.skip * RATE // theirs.rate
    slack = math.ceil(case.frame * RATE / theirs.rate)
    # What is joined to the first part is found within a frame; around the joint decoders differ for some frames.
    joints = [joint * RATE // theirs.rate for joint in case.joints]
    around = RATE // 2 if case.kind == "opus" else 3 * max(slack, 1024)
    end = joints[0] - around if joints else len(want)
    found = ratio(want[skip:end], mine[skip:end], top)
    for joint in joints:
        moved = lag(want[joint + around :], mine[joint + around :], slack)
        found = min(found, moved[1] if moved else -math.inf)
    result.ratio = shown(found)
    late = len(mine) - len(want)
    faults = []
    if case.kind == "he-aac" and not (missing := abs(upper_level(want, mine))) <= UPPER_DIFFERENCE:
        faults.append(f"above {UPPER // 1000} kHz {missing:.1f} dB louder or softer")
    if abs(late) > slack:
        faults.append(f"{abs(late)} frames too {'long' if late > 0 else 'short'}")
    if found < bound and case.expect != "whole":
        faults.append(f"under {bound:.0f} dB")
        if best := lag(want, mine):
            faults.append(f"best {shown(best[1])} dB at {best[0]:+d} frames")
    if faults:
        return fail(", ".join(faults))
    result.verdict = "right" if late == 0 else f"right, {late:+d} frames"
    return None


def table(results):
    print("| file | what it is | ffmpeg, s | Quartet | SNR, dB | MB | CPU, ms | verdict |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: | --- |")
    for each in results:
        row = [each.case.name, each.case.what, each.theirs or "refused", each.ours, each.ratio, each.memory, each.processor, each.verdict]
        print("| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) + " |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--decoder", type=Path, required=True)
    parser.add_argument("--he-aac", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--failures", action="store_true", help="show only these")
    arguments = parser.parse_args()
    began = time.monotonic()
    level = LONG if arguments.long else ALL if arguments.all else QUICK
    cases = corpus(arguments.he_aac, arguments.cases)
    by_name = {each.name: each for each in cases}
    wanted = [each for each in cases if each.level <= level]
    if arguments.only:
        wanted = [each for each in cases if any(fnmatch.fnmatch(each.name, pattern) for pattern in arguments.only)]
    folder = arguments.folder

    def made(each):
        path = folder / each.name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Made beside its place, for another case may want the same file at the same moment.
            new = Path(tempfile.mkdtemp(dir=folder)) / path.name
            each.make(new)
            new.replace(path)
            shutil.rmtree(new.parent)
        return path

    def run(each):
        try:
            path = made(each)
            like = made(by_name[each.like]) if each.like and each.like != each.name else None
        except (RuntimeError, ValueError, StopIteration, IndexError) as error:
            return Result(each, False, f"**the file cannot be made: {error}**")
        return compare(each, path, like, arguments.decoder.absolute(), folder)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(run, wanted))
    table([each for each in results if not (arguments.failures and each.ok)])
    wrong = sum(not each.ok for each in results)
    processor = sum(int(each.processor or 0) for each in results) / 1000
    most = max((int(each.memory or 0) for each in results), default=0)
    print(f"\n{len(results)} files, {len(results) - wrong} as they should be, {wrong} not; decoding took {processor:.1f} s of processor "
          f"and {most} MB at most; {time.monotonic() - began:.0f} s in all.")  # fmt: skip
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
