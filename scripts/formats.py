"""Decodes a corpus of audio files with Quartet and with ffmpeg and compares the samples. scripts/formats runs this.

The reference is ffmpeg's output at the file's own rate and layout, mixed down here by channel positions as in ITU-R
BS.775. Samples are compared at equal positions; offsets are searched only to explain a failure. Files at 44.1 kHz are
compared sample by sample. For other rates, ffmpeg's samples are resampled with soxr and compared below four fifths of
the lower Nyquist frequency, where all good resamplers agree. For HE-AAC, only the level of the upper band is compared.
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
# Largest SNR bound in dB for resampled files: resamplers differ by this much within the compared band.
RESAMPLED_BOUND = 80.0
# HE-AAC: samples are compared below CORE (Hz), and levels above UPPER (Hz), which may differ by UPPER_DIFFERENCE (dB).
CORE, UPPER, UPPER_DIFFERENCE = 5_500, 11_000, 3.0
HALF_POWER = math.sqrt(0.5)
# Gain of each channel in left and right.
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
# Quartet's default layout for a number of channels if the file has none: FLAC's (RFC 9639, section 9.1.3). ffmpeg
# assumes 2.1 for three channels and 4.0 for four.
DEFAULT_LAYOUTS = {2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass
class Result:
    case: Case
    ok: bool
    verdict: str
    # Lengths in seconds, or the decoder's error.
    expected: str = ""
    decoded: str = ""
    snr: str = ""
    # MB.
    memory: str = ""
    # Milliseconds.
    cpu: str = ""


@dataclass
class Reference:
    samples: np.ndarray
    rate: int


def reference(path, folder):
    """ffmpeg's output as stereo at the file's own rate; None if ffmpeg finds no audio in the file."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json", "-show_entries",
         "stream=codec_name,sample_rate,channels,channel_layout", path], capture_output=True, check=False)  # fmt: skip
    try:
        streams = json.loads(probe.stdout).get("streams", [])
    except ValueError:
        # ffprobe prints incomplete JSON if it cannot open the file.
        return None
    if not streams or int(streams[0].get("channels", 0)) == 0 or int(streams[0].get("sample_rate", 0)) == 0:
        return None
    stream, out = streams[0], folder / "reference.f32"
    # Use the reference decoder for Opus, and floating-point decoders where ffmpeg defaults to integers.
    preferred = {"opus": "libopus", "mp2": "mp2float", "mp1": "mp1float"}.get(stream["codec_name"])
    decoder = ["-c:a", preferred, "-request_sample_fmt", "flt"] if preferred else []
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
    """Stereo samples, mixed by channel positions."""
    channels = raw.shape[1]
    if channels == 2:
        return raw
    mixed = np.memmap(folder / "mixed.f32", dtype="<f4", mode="w+", shape=(len(raw), 2))
    names = LAYOUTS.get(layout or "", LAYOUTS.get(DEFAULT_LAYOUTS.get(channels, ""), "")).split()
    gains = np.array([GAINS[name] for name in names] if channels > 1 else [(1, 1)])
    for begin in range(0, len(raw), 1 << 22):
        mixed[begin : begin + (1 << 22)] = raw[begin : begin + (1 << 22)].astype("f8") @ gains
    return mixed


def resampled(samples, rate, folder):
    """The samples at 44.1 kHz, with the length that Quartet's resampler produces."""
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


def decode(decoder, path, folder):
    """Quartet's samples (None on an error), the decoder's JSON output, and its CPU seconds."""
    out = folder / "decoded.f32"
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(["timeout", "900", decoder, path, out], stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        stdout, stderr = output.read().decode(errors="replace"), errors.read().decode(errors="replace")
    try:
        result = json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError):
        result = {"error": f"CRASHED with {process.returncode}: {stderr.strip()[-200:]}", "crashed": True}
    frames = None
    if "error" not in result:
        count = out.stat().st_size // 8
        frames = np.memmap(out, dtype="<f4", mode="r", shape=(count, 2)) if count else np.zeros((0, 2), "<f4")
    return frames, result, usage.ru_utime + usage.ru_stime


def decibels(signal, noise):
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def snr(expected, decoded, top=None):
    """The SNR in dB; with `top`, of the band below this frequency in Hz."""
    signal = noise = 0.0
    step = 1 << 22
    for begin in range(0, min(len(expected), len(decoded)), step):
        end = min(begin + step, len(expected), len(decoded))
        want = np.asarray(expected[begin:end], "f8")
        error = np.asarray(decoded[begin:end], "f8") - want
        if not np.isfinite(error).all():
            return -math.inf
        if top is not None:
            # A window keeps the block edges from leaking into all frequencies.
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


def upper_level(expected, decoded):
    """The level of Quartet's samples above UPPER relative to ffmpeg's, in dB."""
    count = min(len(expected), len(decoded), 1 << 20)
    first = UPPER * count // RATE
    want, have = (np.sum(np.abs(np.fft.rfft(each[:count], axis=0)[first:]) ** 2) for each in (expected, decoded))
    return decibels(float(have), float(want))


def lag(expected, decoded, most=4608):
    """The delay of Quartet's samples in frames with the best match, and the SNR there."""
    count = min(len(expected), len(decoded), 1 << 19)
    if count < 4 * most:
        return None
    want, have = (np.asarray(each[:count], "f8").mean(axis=1) for each in (expected, decoded))
    size = 1 << (2 * count - 1).bit_length()
    match = np.fft.irfft(np.conj(np.fft.rfft(want, size)) * np.fft.rfft(have, size), size)
    match = np.concatenate([match[-most:], match[: most + 1]])
    best = int(np.argmax(match)) - most
    a, b = (want[: count - best], have[best:]) if best >= 0 else (want[-best:], have[: count + best])
    return best, decibels(float(np.sum(a * a)), float(np.sum((a - b) ** 2)))


def format_db(value):
    return "equal" if value == math.inf else "none" if value == -math.inf else f"{value:.1f}"


def select_pieces(samples, pieces):
    return np.concatenate([np.asarray(samples[first : first + count]) for first, count in pieces])


def compare(case, path, like, decoder, scratch):
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        expected = reference(like or path, folder)
        decoded, output, cpu = decode(decoder, path, folder)
        memory = str(output.get("memory_kb", 0) // 1024)
        result = Result(case, True, "", memory=memory, cpu=f"{cpu * 1000:.0f}")
        if expected is not None:
            if case.pieces:
                expected.samples = select_pieces(expected.samples, case.pieces)
            result.expected = f"{len(expected.samples) / expected.rate:.4f}"
        judge(case, result, expected, decoded, output, folder)
        return result


def judge(case, result, expected, decoded, output, folder):
    """Sets the verdict of the result."""
    def fail(message):
        result.ok, result.verdict = False, f"**{message}**"

    if decoded is None:
        result.decoded = output["error"]
        if output.get("crashed"):
            return fail("crashed")
        if case.expect == "decode":
            return fail("rejected")
        result.verdict = "rejected"
        return None
    result.decoded = f"{len(decoded) / RATE:.4f}"
    if case.expect == "reject":
        return fail("accepted")
    if expected is None:
        result.verdict = "ffmpeg cannot read it"
        return None
    if output["promised"] != len(decoded):
        return fail(f"probe reports {output['promised']} frames, decoding returns {len(decoded)}")
    want, top, bound = expected.samples, None, case.bound
    if expected.rate != RATE:
        want = resampled(want, expected.rate, folder)
        # Opus limits its own band as well.
        top, bound = 0.4 * min(expected.rate, RATE), min(bound, RESAMPLED_BOUND)
    if case.kind == "he-aac":
        top = CORE
    if case.kind == "mp3" and expected.rate == 24_000:
        # A scale factor band starts at line 332 (ISO/IEC 13818-3, table B.2; LAME, Symphonia), but in ffmpeg at 330.
        bound = 40.0
    skip = case.skip * RATE // expected.rate
    slack = math.ceil(case.frame * RATE / expected.rate)
    # Parts after a joint may be shifted by up to a frame. Decoders differ for some frames around a joint.
    joints = [joint * RATE // expected.rate for joint in case.joints]
    around = RATE // 2 if case.kind == "opus" else 3 * max(slack, 1024)
    end = joints[0] - around if joints else len(want)
    found = snr(want[skip:end], decoded[skip:end], top)
    for joint in joints:
        moved = lag(want[joint + around :], decoded[joint + around :], slack)
        found = min(found, moved[1] if moved else -math.inf)
    result.snr = format_db(found)
    late = len(decoded) - len(want)
    faults = []
    if case.kind == "he-aac" and not (missing := abs(upper_level(want, decoded))) <= UPPER_DIFFERENCE:
        faults.append(f"above {UPPER // 1000} kHz {missing:.1f} dB level difference")
    if abs(late) > slack:
        faults.append(f"{abs(late)} frames too {'long' if late > 0 else 'short'}")
    if found < bound and case.expect != "whole":
        faults.append(f"SNR below {bound:.0f} dB")
        if best := lag(want, decoded):
            faults.append(f"best {format_db(best[1])} dB at {best[0]:+d} frames")
    if faults:
        return fail(", ".join(faults))
    result.verdict = "ok" if late == 0 else f"ok, {late:+d} frames"
    return None


def table(results):
    print("| file | description | ffmpeg, s | Quartet | SNR, dB | MB | CPU, ms | verdict |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: | --- |")
    for each in results:
        row = [each.case.name, each.case.description, each.expected or "rejected", each.decoded, each.snr, each.memory, each.cpu, each.verdict]
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
    parser.add_argument("--failures", action="store_true", help="show only failing files")
    arguments = parser.parse_args()
    started = time.monotonic()
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
            # Create it in a temporary folder: another thread may need the same file at the same time.
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
            return Result(each, False, f"**cannot generate the file: {error}**")
        return compare(each, path, like, arguments.decoder.absolute(), folder)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(run, wanted))
    table([each for each in results if not (arguments.failures and each.ok)])
    failures = sum(not each.ok for each in results)
    cpu = sum(int(each.cpu or 0) for each in results) / 1000
    most = max((int(each.memory or 0) for each in results), default=0)
    print(f"\n{len(results)} files, {len(results) - failures} ok, {failures} failed; decoding took {cpu:.1f} s of CPU and at most "
          f"{most} MB; {time.monotonic() - started:.0f} s in total.")  # fmt: skip
    return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
