"""The files that scripts/formats.py decodes: songs in every format, with irregularities that other programs produce.

Each case has a file name, a description, and a function that generates the file. All files are synthesized and encoded
at run time, deterministically.
"""

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

# Per kind of codec: lowest SNR to ffmpeg in dB, and the number of samples by which the length may differ.
EXACT = 140.0
KINDS = {
    "pcm": (EXACT, 0),
    "lossless": (EXACT, 0),
    "adpcm": (100.0, 2041),
    # Apple's packets start with nine bits of the predictor; ffmpeg continues with its own sixteen.
    "ima4": (25.0, 64),
    "mp3": (100.0, 1152),
    "mp2": (100.0, 1152),
    "aac": (100.0, 1024),
    # Below the band of spectral band replication, whose noise differs between decoders.
    "he-aac": (45.0, 2048),
    # An integer implementation decodes more than two channels.
    "aac-surround": (65.0, 1024),
    "vorbis": (100.0, 0),
    "opus": (90.0, 0),
}
QUICK, ALL, LONG = 0, 1, 2
RATE = 44_100


@dataclass
class Case:
    """A file and the expected behaviour of a decoder."""

    name: str
    description: str
    kind: str
    make: Callable[[Path], None]
    # decode: like ffmpeg. reject: with an error message. either: reject, or like ffmpeg. whole: reject, or the same length as
    # ffmpeg.
    expect: str = "decode"
    level: int = ALL
    # Name of the file that ffmpeg decodes instead, if ffmpeg misreads this one.
    like: str | None = None
    # Parts of the reference (first frame, number of frames) that this file plays, in order.
    pieces: list[tuple[int, int]] | None = None
    # Frames at the start that are not compared: decoders differ in how they handle missing data.
    skip: int = 0
    # Start frames of the parts that were appended to the first. Each may be shifted within a frame of its codec.
    joints: tuple[int, ...] = ()
    min_snr: float | None = None
    slack: int | None = None

    @property
    def bound(self) -> float:
        return KINDS[self.kind][0] if self.min_snr is None else self.min_snr

    @property
    def frame(self) -> int:
        return KINDS[self.kind][1] if self.slack is None else self.slack


CASES: list[Case] = []


def case(name, description, kind, make, **options):
    """Adds a case."""
    CASES.append(Case(name, description, kind, make, **options))


def run(*command, data=None):
    """Runs a command with `data` on its standard input and returns its standard output."""
    done = subprocess.run([str(part) for part in command], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout


# ---- Music -----------------------------------------------------------------------------------------------------------


def envelope(seconds, rate, points):
    """Linear interpolation through (second, level) points."""
    times = np.arange(int(seconds * rate)) / rate
    return np.interp(times, [at for at, _ in points], [level for _, level in points])


def music(seconds=5.0, rate=RATE, channels=2, seed=1, shape="song"):
    """Plucked notes and noise bursts, deterministic for the same arguments. `shape` selects the loudness envelope."""
    random = np.random.default_rng(seed)
    count = int(round(seconds * rate))
    times = np.arange(count) / rate
    sound = np.zeros((count, channels))
    # No partials near the Nyquist frequency, where resamplers differ.
    highest = 0.35 * rate
    beat = 0.25
    for step in range(int(np.ceil(seconds / beat))):
        first, last = int(step * beat * rate), min(int((step * beat + 1.0) * rate), count)
        local = times[: last - first]
        root = 110.0 * 2 ** (random.choice([0, 3, 5, 7, 10, 12]) / 12)
        pan = random.uniform(0.3, 1.0, channels)
        note = np.zeros(last - first)
        for partial in range(1, 9):
            if root * partial < highest:
                note += np.sin(2 * np.pi * root * partial * local) * np.exp(-local * (2 + partial)) / partial
        sound[first:last] += 0.15 * note[:, None] * pan
        if step % 2 == 1:
            length = min(int(0.08 * rate), last - first)
            burst = random.standard_normal(length) * np.exp(-np.arange(length) / (0.02 * rate))
            spectrum = np.fft.rfft(burst)
            spectrum[int(len(spectrum) * 0.7) :] = 0
            sound[first : first + length] += 0.1 * np.fft.irfft(spectrum, length)[:, None] * pan[::-1]
    levels = {
        "song": [(0, 1), (seconds, 1)],
        "quiet start": [(0, 0), (1, 0), (2, 0.2), (seconds * 0.6, 0.3), (seconds * 0.7, 2), (seconds, 2)],
        "loud start": [(0, 2), (1, 2), (1.01, 0), (seconds * 0.5, 0), (seconds * 0.55, 0.2), (seconds, 0.02)],
        "fade": [(0, 1), (seconds * 0.5, 1), (seconds, 0)],
    }
    shaped = sound * envelope(seconds, rate, levels[shape])[:count, None]
    if shape == "loud start":
        shaped[: int(rate)] += 0.2 * random.standard_normal((min(count, int(rate)), channels))
    return np.clip(shaped, -0.99, 0.99)


def tones(count, rate, seconds=3.0):
    """One tone per channel, each with its own pitch, so that swapped channels are detected."""
    times = np.arange(int(seconds * rate)) / rate
    return np.stack([0.12 * np.sin(2 * np.pi * (220 + 130 * channel) * times) for channel in range(count)], axis=1)


SONGS: dict[tuple, bytes] = {}


def song(**how):
    """A song as a 16-bit WAV file."""
    key = tuple(sorted(how.items()))
    if key not in SONGS:
        SONGS[key] = wav(music(**how), how.get("rate", RATE))
    return SONGS[key]


# ---- Writers for WAV and AIFF ----------------------------------------------------------------------------------------

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def samples(sound, form, big=False):
    """Encodes samples in a sample format."""
    order = ">" if big else "<"
    if form == "u8":
        return np.round(sound * 127 + 128).astype("u1").tobytes()
    if form == "s8":
        return np.round(sound * 127).astype("i1").tobytes()
    if form == "s16":
        return np.round(sound * 32767).astype(order + "i2").tobytes()
    if form == "s24":
        raw = np.round(sound * 8388607).astype(order + "i4").reshape(-1, 1).view("u1")
        return (raw[:, 1:] if big else raw[:, :3]).tobytes()
    if form == "s32":
        return np.round(sound * 2147483647).astype(order + "i4").tobytes()
    return sound.astype(order + {"f32": "f4", "f64": "f8"}[form]).tobytes()


def chunk(name, body, size=None, pad=True):
    """A RIFF chunk; `size` replaces the true size."""
    filled = body + b"\0" if pad and len(body) % 2 else body
    return name + struct.pack("<I", len(body) if size is None else size) + filled


def wav(
    sound, rate=RATE, form="s16", fmt=16, mask=None, valid=None, riff=None, data=None, before=b"", after=b"",
    behind=b"", pad=True, first=b"",
):  # fmt: skip
    """A WAV file. `fmt` is the size of that chunk. `riff` and `data` replace the true sizes, or map them if functions."""
    bits = int(form[1:])
    tag = FLOAT if form[0] == "f" else PCM
    width, channels = bits // 8, sound.shape[1]
    body = samples(sound, form)
    shape = struct.pack("<HIIHH", channels, rate, rate * channels * width, channels * width, bits)
    if fmt == 40:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        shown = bits if valid is None else valid
        shape = struct.pack("<H", EXTENSIBLE) + shape + struct.pack("<HHI", 22, shown, mask or 0) + guid
    else:
        shape = struct.pack("<H", tag) + shape + (struct.pack("<H", fmt - 18) if fmt >= 18 else b"")
        shape = shape.ljust(fmt, b"\0")
    sized = lambda claim, true: true if claim is None else claim(true) if callable(claim) else claim
    inside = first + chunk(b"fmt ", shape) + before + chunk(b"data", body, sized(data, len(body)), pad) + after
    return b"RIFF" + struct.pack("<I", sized(riff, len(inside) + 4)) + b"WAVE" + inside + behind


def extended(rate):
    """A sample rate as an 80-bit float."""
    exponent = rate.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, rate << (63 - exponent))


def aiff(sound, rate=RATE, form="s16", kind=None, form_size=None, comm_frames=None):
    """An AIFF file, or with `kind` an AIFC file of that compression type."""
    bits = int(form[1:])
    frames = len(sound) if comm_frames is None else comm_frames
    common = struct.pack(">hIh", sound.shape[1], frames, bits) + extended(rate)
    if kind:
        common += kind + b"\0\0"
    block = lambda name, body: name + struct.pack(">I", len(body)) + body + (b"\0" if len(body) % 2 else b"")
    body = samples(sound, form, big=kind != b"sowt")
    inside = (b"AIFC" + block(b"FVER", bytes.fromhex("a2805140")) if kind else b"AIFF") + block(b"COMM", common)
    inside += block(b"SSND", struct.pack(">II", 0, 0) + body)
    size = len(inside) if form_size is None else form_size(len(inside))
    return b"FORM" + struct.pack(">I", size) + inside


# ---- Tags ------------------------------------------------------------------------------------------------------------

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(np.random.default_rng(9).integers(0, 256, 20_000, dtype="u1")) + b"\xff\xd9"


def id3v2(extra=0, version=3):
    """A tag with a title and `extra` bytes of padding."""
    text = b"\0Title"
    frame = b"TIT2" + struct.pack(">I", len(text)) + b"\0\0" + text
    size = len(frame) + extra
    packed = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, 0]) + packed + frame + bytes(extra)


def id3v1():
    return b"TAG" + b"Title".ljust(30, b"\0") + bytes(95)


def apev2(picture=b""):
    def item(key, value, flags=0):
        return struct.pack("<II", len(value), flags) + key + b"\0" + value

    items = [item(b"Title", b"Title")]
    if picture:
        items.append(item(b"Cover Art (Front)", b"cover.jpg\0" + picture, 2))
    body = b"".join(items)
    about = lambda flags: b"APETAGEX" + struct.pack("<IIII", 2000, len(body) + 32, len(items), flags) + bytes(8)
    return about(0xA0000000) + body + about(0x80000000)


def lyrics3():
    body = b"LYRICSBEGIN" + b"IND00002" + b"10" + b"LYR00012" + b"[00:01]Words"
    return body + b"%06d" % len(body) + b"LYRICS200"


def junk(count, seed=3):
    """Random bytes without 0xFF, which could start a frame."""
    return bytes(np.random.default_rng(seed).integers(0, 255, count, dtype="u1"))


# ---- MP3 -------------------------------------------------------------------------------------------------------------


def lame(*options, **how):
    """An MP3 file of a song, encoded by LAME."""
    return lame_file(*options, "-", data=song(**how))


def lame_file(*options, data):
    """LAME's output, through a file: LAME cannot write the Xing header to a pipe."""
    with tempfile.NamedTemporaryFile(suffix=".mp3") as out:
        run("lame", "--quiet", *options, out.name, data=data)
        return Path(out.name).read_bytes()


def ffmpeg(*options, source=None, form=None, folder=None):
    """ffmpeg's output for a WAV file; with `folder`, through that file, for muxers that seek."""
    if folder is None:
        return run("ffmpeg", "-v", "error", "-i", "-", "-bitexact", *options, "-f", form, "-", data=source)
    run("ffmpeg", "-v", "error", "-y", "-i", "-", "-bitexact", *options, folder, data=source)
    return folder.read_bytes()


BITRATES = {
    1: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    2: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}


def mp3_frames(data):
    """Offset and length of each Layer III frame of a file without leading tags."""
    found, at = [], 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE0 == 0xE0:
        version = (data[at + 1] >> 3) & 3
        rate = [44100, 48000, 32000][(data[at + 2] >> 2) & 3] >> {3: 0, 2: 1, 0: 2}[version]
        kilobits = BITRATES[1 if version == 3 else 2][data[at + 2] >> 4]
        length = (144 if version == 3 else 72) * kilobits * 1000 // rate + ((data[at + 2] >> 1) & 1)
        found.append((at, length))
        at += length
    return found


def crc16(data):
    """The CRC of a LAME tag: polynomial 0x8005, reflected."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return value


def with_xing(data, frames=None, total=None, delay=None, padding=None):
    """The file with other values in the Xing or Info header that LAME wrote."""
    at = next(place for place in (data.find(b"Xing"), data.find(b"Info")) if place >= 0)
    changed = bytearray(data)
    if frames is not None:
        changed[at + 8 : at + 12] = struct.pack(">I", frames(struct.unpack(">I", data[at + 8 : at + 12])[0]))
    if total is not None:
        changed[at + 12 : at + 16] = struct.pack(">I", total)
    if delay is not None:
        packed = (delay << 12) | padding
        changed[at + 141 : at + 144] = packed.to_bytes(3, "big")
    changed[at + 154 : at + 156] = struct.pack(">H", crc16(changed[:190]))
    return bytes(changed)


def vbri(data):
    """A VBR file without a Xing header, preceded by a frame with a VBRI header as Fraunhofer's encoders write it."""
    frames = mp3_frames(data)
    header = bytes([0xFF, 0xFB, 0x90, data[3]])
    body = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 75, len(data) + 417, len(frames), 10, 1, 2, len(frames) // 10 + 1)
    return (header + bytes(32) + body + bytes(20)).ljust(417, b"\0") + data


def save(make):
    """A generator of a file with the bytes that `make` returns."""
    return lambda path: path.write_bytes(make())


def mp3(name, description, make, **options):
    """Adds a case of an MP3 file."""
    case(f"mp3-{name}.mp3", description, options.pop("kind", "mp3"), save(make), **options)


def mp3_cases():
    for rate, bitrate in [(48000, 192), (44100, 128), (32000, 96), (24000, 64), (22050, 64), (16000, 48), (12000, 32),
                          (11025, 32), (8000, 24)]:  # fmt: skip
        version = "1" if rate >= 32000 else "2" if rate >= 16000 else "2.5"
        level = QUICK if rate in (48000, 22050, 8000) else ALL
        for mode, letter in [("stereo", "s"), ("joint stereo", "j"), ("mono", "m")]:
            mp3(f"{rate}-{letter}", f"MPEG-{version}, {rate} Hz, {bitrate} kbit/s, {mode}",
                lambda rate=rate, bitrate=bitrate, letter=letter: lame("-b", bitrate, "-m", letter, rate=rate),
                level=level if letter == "j" else ALL)  # fmt: skip
            mp3(f"{rate}-{letter}-t", f"the same, VBR without Xing header ({rate} Hz, {mode})",
                lambda rate=rate, letter=letter: lame("-V4", "-t", "-m", letter, "--resample", rate / 1000, rate=rate))  # fmt: skip
    for bitrate in (32, 64, 128, 192, 256, 320):
        mp3(f"cbr-{bitrate}", f"CBR {bitrate}", lambda bitrate=bitrate: lame("-b", bitrate, "--cbr"))
        mp3(f"cbr-{bitrate}-t", f"CBR {bitrate}, no Info header",
            lambda bitrate=bitrate: lame("-b", bitrate, "--cbr", "-t"), level=QUICK if bitrate == 128 else ALL)  # fmt: skip
    mp3("abr-140", "ABR 140", lambda: lame("--abr", 140))
    mp3("abr-140-t", "ABR 140, no Xing header", lambda: lame("--abr", 140, "-t"))
    for quality in range(10):
        mp3(f"v{quality}", f"VBR V{quality}", lambda quality=quality: lame(f"-V{quality}"), level=QUICK if quality == 2 else ALL)
        mp3(f"v{quality}-t", f"VBR V{quality}, no Xing header, fades",
            lambda quality=quality: lame(f"-V{quality}", "-t", shape="fade"), level=QUICK if quality == 5 else ALL)  # fmt: skip
    for shape in ("quiet start", "loud start"):
        mp3(f"v2-t-{shape.replace(' ', '-')}", f"VBR V2 without Xing header, {shape}",
            lambda shape=shape: lame("-V2", "-t", shape=shape, seconds=8.0), level=QUICK)  # fmt: skip
    mp3("crc", "frames with checksums", lambda: lame("-V4", "-p"))
    mp3("free-format", "free format, 400 kbit/s", lambda: lame("--freeformat", "-b", 400), expect="either")
    mp3("vbri", "VBRI header", lambda: vbri(lame("-V4", "-t")), level=QUICK)
    for name, codec, options in [("lavf", "libmp3lame", ("-b:a", "192k")), ("lavf-vbr", "libmp3lame", ("-q:a", "4")),
                                 ("lavf-noxing", "libmp3lame", ("-q:a", "4", "-write_xing", "0")),
                                 ("shine", "libshine", ("-b:a", "128k"))]:  # fmt: skip
        mp3(name, f"ffmpeg {codec} {' '.join(options)}",
            lambda codec=codec, options=options: ffmpeg("-c:a", codec, *options, source=song(), form="mp3"))  # fmt: skip
    for rate in (48000, 44100, 32000, 24000, 16000):
        mp3(f"mp2-{rate}", f"Layer II, {rate} Hz, named mp3", kind="mp2",
            make=lambda rate=rate: ffmpeg("-c:a", "mp2", "-ar", rate, "-b:a", "160k", source=song(rate=rate), form="mp2"))  # fmt: skip
    for name, codec in [("mp2-lavf", "mp2"), ("mp2-twolame", "libtwolame")]:
        case(f"{name}.mp2", f"Layer II by {codec}", "mp2", level=QUICK if codec == "mp2" else ALL,
             make=save(lambda codec=codec: ffmpeg("-c:a", codec, source=song(), form="mp2")))  # fmt: skip

    # Damage and additions by other programs.
    vbr = lambda **how: lame("-V4", **how)
    bare = lambda: lame("-V4", "-t")
    constant = lambda: lame("-b", 128, "--cbr", "-t")
    mp3("joined", "two files with Xing headers, joined", lambda: vbr() + vbr(seed=2, seconds=3.0), level=QUICK, joints=(5 * RATE,))
    mp3("joined-t", "two files without headers, joined", lambda: bare() + constant(), joints=(5 * RATE,))
    mp3("joined-tags", "two files with ID3v2 and ID3v1, joined", lambda: (id3v2() + vbr() + id3v1()) * 2, joints=(5 * RATE,))
    mp3("joined-mono", "stereo and mono, joined", lambda: bare() + lame("-V4", "-t", "-m", "m", seed=2), expect="either",
        # ffmpeg continues at -3 dB in both channels: 20 log10(0.71 / 0.29).
        joints=(5 * RATE,), min_snr=7.5)  # fmt: skip
    for name, what, change in [
        ("xing-0-frames", "Xing frame count 0", lambda data: with_xing(data, frames=lambda _: 0)),
        ("xing-half", "Xing frame count half of the true one", lambda data: with_xing(data, frames=lambda count: count // 2)),
        ("xing-one-less", "Xing frame count one less", lambda data: with_xing(data, frames=lambda count: count - 1)),
        ("xing-one-more", "Xing frame count one more", lambda data: with_xing(data, frames=lambda count: count + 1)),
        ("xing-bytes-0", "Xing byte count 0", lambda data: with_xing(data, total=0)),
        ("lame-delay-0", "LAME delay 0, padding 0", lambda data: with_xing(data, delay=0, padding=0)),
        ("lame-delay-1105", "LAME delay 1105, padding 1000", lambda data: with_xing(data, delay=1105, padding=1000)),
        ("lame-delay-4095", "LAME delay 4095, padding 4095", lambda data: with_xing(data, delay=4095, padding=4095)),
    ]:  # fmt: skip
        level = QUICK if name in ("xing-half", "xing-0-frames", "lame-delay-1105") else ALL
        mp3(name, what, lambda change=change: change(vbr()), level=level)
    # ffmpeg trims relative to the end that the count claims, which is beyond the file.
    mp3("xing-double", "Xing frame count twice the true one: half of the file is missing",
        lambda: with_xing(vbr(), frames=lambda count: count * 2), expect="either")  # fmt: skip
    mp3("xing-cut", "VBR with Xing header, cut after 60 %", lambda: vbr()[: int(len(vbr()) * 0.6)], expect="reject", level=QUICK)
    for where, parts in [("behind", lambda data, extra: data + extra), ("before", lambda data, extra: extra + data)]:
        for name, what, extra in [
            ("id3v2", "ID3v2 of 100 bytes", id3v2(60)), ("id3v2-big", "ID3v2 of 300 kB", id3v2(300_000)),
            ("id3v1", "ID3v1", id3v1()), ("apev2", "APEv2", apev2()), ("apev2-jpeg", "APEv2 with a JPEG", apev2(JPEG)),
            ("lyrics3", "Lyrics3 and ID3v1", lyrics3() + id3v1()), ("zeros", "30 kB of zeros", bytes(30_000)),
            ("junk", "10 kB of junk", junk(10_000)), ("jpeg", "a JPEG", JPEG),
        ]:  # fmt: skip
            for source, data in [("xing", vbr), ("vbr-t", bare), ("cbr-t", constant)]:
                if where == "before" and name in ("id3v1", "lyrics3", "jpeg", "apev2-jpeg", "id3v2-big"):
                    continue
                quick = source == "cbr-t" and name in ("apev2-jpeg", "zeros", "junk") or source == "xing" and name == "id3v2-big"
                # ffmpeg finds a Xing header only at the start or after ID3v2.
                hidden = source == "xing" and where == "before" and name != "id3v2"
                mp3(f"{source}-{name}-{where}", f"{source}, {what} {'after' if where == 'behind' else 'before'} the audio",
                    lambda data=data, parts=parts, extra=extra: parts(data(), extra), like="mp3-v4.mp3" if hidden else None,
                    level=QUICK if quick and where == "behind" else ALL)  # fmt: skip
    for source, data in [("xing", vbr), ("cbr-t", constant)]:
        def between(data=data):
            whole = data()
            at = mp3_frames(whole)[60][0]
            return whole[:at] + junk(3_000) + whole[at:]

        # Frames after a gap lack their bit reservoir, so that decoders differ for some frames.
        mp3(f"{source}-junk-between", f"{source}, 3 kB of junk in the middle", between, expect="whole", slack=2304)
    mp3("id3v2-twice", "two leading ID3v2 tags", lambda: id3v2() + id3v2(500) + vbr())
    mp3("cut-begin", "cut in the middle of a frame at the start", lambda: constant()[1000:], skip=8 * 1152, level=QUICK)
    mp3("cut-end", "CBR without header, cut in the middle of the last frame", lambda: constant()[:-150], level=QUICK)
    mp3("cut-both", "VBR without header, cut at both ends", lambda: bare()[777:-99], skip=8 * 1152)
    def reservoir():
        whole = lame("-b", 128, "--cbr", "-t", shape="quiet start")
        return whole[mp3_frames(whole)[90][0] :]

    mp3("reservoir", "first frames refer to a missing bit reservoir", reservoir, skip=8 * 1152)
    mp3("one-frame", "a tenth of a second", lambda: lame("-V4", seconds=0.1))
    # Long files.
    for minutes, name, options, how in [
        (2, "2-min-v2-t", ("-V2", "-t"), dict(shape="fade")), (10, "10-min-v4", ("-V4",), {}),
        (10, "10-min-v4-t", ("-V4", "-t"), dict(shape="quiet start")),
        (60, "1-h-cbr-128-t", ("-b", 128, "--cbr", "-t"), {}), (120, "2-h-mono-v9-t", ("-V9", "-t"), dict(channels=1)),
        (120, "2-h-mono-24", ("-b", 24, "--resample", 44.1), dict(channels=1)),
    ]:  # fmt: skip
        mp3(name, f"{minutes} minutes, lame {' '.join(map(str, options))}", level=LONG,
            make=lambda minutes=minutes, options=options, how=how: lame_long(minutes, options, **how))  # fmt: skip


def lame_long(minutes, options, **how):
    """Like `lame`, for a song of several minutes that repeats one minute at varying levels."""
    part = music(seconds=60.0, **how)
    loudness = [0.3 + 0.07 * (7 * minute % 10) for minute in range(minutes)]
    body = b"".join(samples(part * level, "s16") for level in loudness)
    channels = part.shape[1]
    raw = ("-r", "-s", "44.1", "--bitwidth", "16", "--signed", "--little-endian", "-m", "m" if channels == 1 else "j")
    return lame_file(*raw, *options, "-", data=body)


# ---- AAC and MP4 -----------------------------------------------------------------------------------------------------

CONTAINERS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta"}


def boxes(data, begin=0, end=None):
    """Offset, size and type of each MP4 box."""
    end = len(data) if end is None else end
    while begin + 8 <= end:
        size, kind = struct.unpack(">I4s", data[begin : begin + 8])
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", data[begin + 8 : begin + 16])[0], 16
        size = size or end - begin
        yield begin, size, kind, header
        begin += size


def edited(data, change, at=0, end=None):
    """The file with each box body replaced by `change(type, body)`; None drops the box. moov must be the last box."""
    made = b""
    for begin, size, kind, header in boxes(data, at, end):
        body = data[begin + header : begin + size]
        if kind in CONTAINERS:
            body = edited(data, change, begin + header, begin + size)
        body = change(kind, body)
        if body is not None:
            made += (struct.pack(">I4s", len(body) + 8, kind) if header == 8 else data[begin : begin + 16]) + body
    return made


def with_edits(data, edits):
    """The file with this edit list of (duration in ms, media time). ffmpeg's movie time scale is 1000."""
    list_body = struct.pack(">II", 0, len(edits))
    list_body += b"".join(struct.pack(">IiI", duration, time, 0x10000) for duration, time in edits)

    def change(kind, body):
        if kind == b"elst":
            return list_body
        return body

    return edited(data, change)


def without_edits(data, smpb=None):
    """The file without an edit list; with `smpb`, with iTunes' tag for delay and padding."""
    def change(kind, body):
        if kind == b"edts":
            return None
        if kind == b"udta" and smpb:
            box = lambda name, inside: struct.pack(">I4s", len(inside) + 8, name) + inside
            mean = box(b"mean", bytes(4) + b"com.apple.iTunes")
            value = box(b"data", struct.pack(">II", 1, 0) + smpb.encode())
            item = box(b"----", mean + box(b"name", bytes(4) + b"iTunSMPB") + value)
            handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
            return box(b"meta", bytes(4) + handler + box(b"ilst", item))
        return body

    return edited(data, change)


def m4a(path, *options, source=None):
    return ffmpeg(*(options or ("-c:a", "aac", "-b:a", "128k")), source=source or song(), folder=path)


def box_at(data, *path):
    """The body of the first box at this path of box types."""
    begin, end = 0, len(data)
    for wanted in path:
        at, size, _, header = next(box for box in boxes(data, begin, end) if box[2] == wanted)
        # A sample description has fields before its inner boxes.
        begin, end = at + header + {b"stsd": 8, b"mp4a": 28}.get(wanted, 0), at + size
    return data[begin:end]


def caf_aac(data):
    """A CAF file with the AAC packets of an M4A file, which must be contiguous."""
    stbl = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    cookie = box_at(data, *stbl, b"stsd", b"mp4a", b"esds")
    sizes = struct.unpack(">%dI" % struct.unpack(">I", box_at(data, *stbl, b"stsz")[8:12]), box_at(data, *stbl, b"stsz")[12:])
    body = box_at(data, b"mdat")

    def packed(value):
        parts = [value & 127]
        while value := value >> 7:
            parts.insert(0, value & 127 | 128)
        return bytes(parts)

    part = lambda name, inside: name + struct.pack(">q", len(inside)) + inside
    frames = len(sizes) * 1024
    described = struct.pack(">d4sIIIII", RATE, b"aac ", 0, 0, 1024, 2, 0)
    table = struct.pack(">qqii", len(sizes), frames - 1024, 1024, 0) + b"".join(packed(size) for size in sizes)
    return (b"caff" + struct.pack(">HH", 1, 0) + part(b"desc", described) + part(b"kuki", cookie) + part(b"pakt", table)
            + part(b"data", bytes(4) + body[: sum(sizes)]))  # fmt: skip


def patched(*options, change, source=None):
    """A generator of an MP4 file that `change` then modifies."""
    return lambda path: path.write_bytes(change(m4a(path, *options, source=source)))


def aac_cases(tool):
    adts = lambda *options, **how: ffmpeg("-c:a", "aac", *options, source=song(**how), form="adts")
    for rate in (8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000):
        case(f"aac-{rate}.aac", f"ADTS, {rate} Hz", "aac", save(lambda rate=rate: adts("-b:a", "96k", rate=rate)),
             level=QUICK if rate == 48000 else ALL)  # fmt: skip
    for shape in ("song", "quiet start", "loud start", "fade"):
        case(f"aac-vbr-{shape.replace(' ', '-')}.aac", f"ADTS, VBR, {shape}", "aac",
             save(lambda shape=shape: adts("-q:a", "1.5", shape=shape, seconds=8.0)),
             level=QUICK if shape == "quiet start" else ALL)  # fmt: skip
    case("aac-mono.aac", "ADTS, mono", "aac", save(lambda: adts("-b:a", "64k", channels=1)))
    case("aac-5.1.aac", "ADTS, 5.1", "aac-surround", level=QUICK,
         make=save(lambda: ffmpeg("-c:a", "aac", "-b:a", "256k", form="adts",
                                  source=wav(tones(6, RATE), fmt=40, mask=0x3F))))  # fmt: skip
    case("aac-id3v2.aac", "ADTS, leading ID3v2", "aac", save(lambda: id3v2(3000) + adts("-b:a", "96k")), level=QUICK)
    for name, what, extra in [("id3v1", "ID3v1", id3v1()), ("apev2", "APEv2 with a JPEG", apev2(JPEG)),
                              ("zeros", "zeros", bytes(20_000)), ("junk", "junk", junk(5_000))]:  # fmt: skip
        case(f"aac-{name}-behind.aac", f"ADTS, trailing {what}", "aac", save(lambda extra=extra: adts("-q:a", "1.2") + extra),
             level=QUICK if name == "junk" else ALL)  # fmt: skip
    case("aac-joined.aac", "two ADTS files, joined", "aac", save(lambda: adts("-b:a", "96k") + adts("-b:a", "64k", seed=2)),
         joints=(5 * RATE,))  # fmt: skip
    case("aac-cut-end.aac", "ADTS, cut in the middle of the last frame", "aac", save(lambda: adts("-b:a", "96k")[:-70]))

    case("m4a.m4a", "AAC-LC in M4A", "aac", lambda path: m4a(path), level=QUICK)
    for rate in (22050, 48000, 96000):
        case(f"m4a-{rate}.m4a", f"AAC-LC, {rate} Hz", "aac", lambda path, rate=rate: m4a(path, source=song(rate=rate)))
    case("m4a-mono.m4a", "AAC-LC, mono", "aac", lambda path: m4a(path, source=song(channels=1)))
    for mask, count, name in [(0x3F, 6, "5.1"), (0x7, 3, "3.0"), (0x107, 4, "4.0"), (0x37, 5, "5.0")]:
        case(f"m4a-{name}.m4a", f"AAC-LC, {name}", "aac-surround",
             lambda path, mask=mask, count=count: m4a(path, source=wav(tones(count, RATE), fmt=40, mask=mask)))  # fmt: skip
    case("m4a-faststart.m4a", "index at the start", "aac",
         lambda path: m4a(path, "-c:a", "aac", "-movflags", "+faststart"))  # fmt: skip
    case("m4a-fragmented.m4a", "fragmented", "aac", level=QUICK,
         make=lambda path: m4a(path, "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov+default_base_moof",
                               "-frag_duration", "1000000"))  # fmt: skip
    # The song lasts 5 s; ffmpeg's AAC encoder has a delay of 1024.
    bare = "m4a-no-edits.m4a"
    second = RATE
    case(bare, "no edit list: the encoder delay is audible", "aac", patched(change=without_edits))
    case("m4a-smpb.m4a", "no edit list, but iTunSMPB: delay 2112, padding 458", "aac", level=QUICK,
         make=patched(change=lambda data: without_edits(data, " 00000000 00000840 000001CA 0000000000035FB6 00000000")))  # fmt: skip
    for name, what, edits, pieces, level in [
        ("start", "edit list: starts at 1 s", [(4000, 1024 + second)], [(1024 + second, 4 * second)], QUICK),
        ("start-odd", "edit list: starts at sample 12,345", [(4000, 12_345)], [(12_345, 4 * second)], ALL),
        ("end", "edit list: ends after 3 s", [(3000, 1024)], [(1024, 3 * second)], QUICK),
        ("several", "edit list: seconds 1, 4 and 2", [(1000, 1024), (1000, 1024 + 3 * second), (1000, 1024 + second)],
         [(1024, second), (1024 + 3 * second, second), (1024 + second, second)], ALL),
    ]:  # fmt: skip
        case(f"m4a-edit-{name}.m4a", what, "aac", patched(change=lambda data, edits=edits: with_edits(data, edits)),
             like=bare, pieces=pieces, level=level)  # fmt: skip
    case("m4a-edit-empty.m4a", "edit list: half a second of silence, then the song", "aac", slack=RATE // 2 + 1024,
         make=patched(change=lambda data: with_edits(data, [(500, -1), (5000, 1024)])), min_snr=-10.0)  # fmt: skip
    case("m4a-junk-behind.m4a", "junk after the boxes", "aac", level=QUICK,
         make=patched("-c:a", "aac", "-movflags", "+faststart", change=lambda data: data + junk(3_001)))  # fmt: skip
    case("m4a-cut.m4a", "index at the start, cut after 60 %", "aac", expect="reject",
         make=patched("-c:a", "aac", "-movflags", "+faststart", change=lambda data: data[: len(data) * 6 // 10]))  # fmt: skip
    case("alac.m4a", "ALAC, 16 bits", "lossless", lambda path: m4a(path, "-c:a", "alac"), level=QUICK)
    case("alac-24.m4a", "ALAC, 24 bits", "lossless",
         lambda path: m4a(path, "-c:a", "alac", "-sample_fmt", "s32p", source=wav(music(), form="s24")))  # fmt: skip
    case("alac-mono-48.m4a", "ALAC, mono, 48 kHz", "lossless",
         lambda path: m4a(path, "-c:a", "alac", source=song(channels=1, rate=48000)))  # fmt: skip
    case("alac-5.1.m4a", "ALAC, 5.1", "lossless",
         lambda path: m4a(path, "-c:a", "alac", source=wav(tones(6, RATE), fmt=40, mask=0x3F)))  # fmt: skip
    case("mp3-in-mp4.mp4", "MP3 in MP4", "mp3", lambda path: m4a(path, "-c:a", "libmp3lame"), level=QUICK)
    case("flac-in-mp4.mp4", "FLAC in MP4", "lossless",
         lambda path: m4a(path, "-c:a", "flac", "-strict", "experimental"), expect="either")  # fmt: skip
    case("opus-in-mp4.mp4", "Opus in MP4", "opus",
         lambda path: m4a(path, "-c:a", "libopus", "-strict", "experimental", source=song(rate=48000)), expect="either",
         # ffmpeg does not apply the end of its own edit list.
         slack=960)  # fmt: skip
    case("ac3-in-mp4.mp4", "AC-3 in MP4: no decoder", "aac", lambda path: m4a(path, "-c:a", "ac3"), expect="reject")
    if tool:
        for version, profile, rate in [(1, "he", 44100), (1, "he", 48000), (2, "hev2", 44100)]:
            def he_aac(path, profile=profile, rate=rate):
                source = path.with_suffix(".wav")
                source.write_bytes(song(rate=rate, seconds=6.0))
                run(tool, profile, source, path)
                source.unlink()

            name = f"he-aac-v{version}-{rate}"
            case(f"{name}.aac", f"HE-AAC v{version}, ADTS, {rate} Hz", "he-aac", he_aac, level=QUICK if rate == 44100 else ALL)

            def in_mp4(path, he_aac=he_aac):
                stream = path.with_suffix(".aac")
                he_aac(stream)
                run("ffmpeg", "-v", "error", "-y", "-i", stream, "-c", "copy", "-bitexact", path)
                stream.unlink()

            case(f"{name}-in.m4a", f"HE-AAC v{version}, M4A, {rate} Hz", "he-aac", in_mp4)


# ---- Video files -----------------------------------------------------------------------------------------------------


def video_cases():
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=5")

    def film(path, video, *audio, rate=RATE):
        source = path.with_suffix(".wav")
        source.write_bytes(song(rate=rate))
        run("ffmpeg", "-v", "error", "-y", *picture, "-i", source, "-map", "0:v", "-map", "1:a", "-c:v", video, "-c:a", *audio,
            "-bitexact", path)  # fmt: skip
        source.unlink()

    for name, what, kind, video, audio, rate, level in [
        ("video.mp4", "MP4 with video, AAC", "aac", "mpeg4", ("aac",), RATE, QUICK),
        ("video.mov", "QuickTime with video, AAC", "aac", "mpeg4", ("aac",), RATE, ALL),
        ("video-aac.mkv", "Matroska with video, AAC", "aac", "mpeg4", ("aac",), RATE, ALL),
        ("video-mp3.mkv", "Matroska with video, MP3", "mp3", "mpeg4", ("libmp3lame",), RATE, ALL),
        ("video-vorbis.mkv", "Matroska with video, Vorbis", "vorbis", "mpeg4", ("libvorbis",), RATE, QUICK),
        ("video-flac.mkv", "Matroska with video, FLAC", "lossless", "mpeg4", ("flac",), RATE, ALL),
        ("video-pcm.mkv", "Matroska with video, PCM", "pcm", "mpeg4", ("pcm_s16le",), RATE, ALL),
        ("video-opus.webm", "WebM with video, Opus", "opus", "libvpx", ("libopus",), 48000, QUICK),
        ("video-vorbis.webm", "WebM with video, Vorbis", "vorbis", "libvpx", ("libvorbis",), RATE, ALL),
    ]:  # fmt: skip
        # ffmpeg does not trim the end of a Matroska file, nor all of the delay.
        case(name, what, kind, lambda path, video=video, audio=audio, rate=rate: film(path, video, *audio, rate=rate),
             level=level, slack=2048 if kind in ("vorbis", "aac") else None)  # fmt: skip
    for name, what, kind, options, rate in [
        ("opus.webm", "WebM, Opus", "opus", ("-c:a", "libopus"), 48000), ("opus.mka", "MKA, Opus", "opus", ("-c:a", "libopus"), 48000),
        ("flac.mka", "MKA, FLAC", "lossless", ("-c:a", "flac"), RATE), ("aac.mka", "MKA, AAC", "aac", ("-c:a", "aac"), RATE),
        ("vorbis.mka", "MKA, Vorbis", "vorbis", ("-c:a", "libvorbis"), RATE), ("mp3.mka", "MKA, MP3", "mp3", ("-c:a", "libmp3lame"), RATE),
        ("pcm-24.mka", "MKA, PCM of 24 bits", "pcm", ("-c:a", "pcm_s24le"), RATE),
        ("pcm-f32.mka", "MKA, PCM of floats", "pcm", ("-c:a", "pcm_f32le"), RATE), ("alac.mka", "MKA, ALAC", "lossless", ("-c:a", "alac"), RATE),
    ]:  # fmt: skip
        case(name, what, kind, lambda path, options=options, rate=rate: ffmpeg(*options, source=song(rate=rate), folder=path),
             level=QUICK if name in ("opus.webm", "flac.mka") else ALL, slack=2048 if kind in ("vorbis", "aac") else None)  # fmt: skip


# ---- WAV, AIFF, CAF, QuickTime ---------------------------------------------------------------------------------------

MASKS = {
    "2.1": (3, 0xB), "3.0": (3, 0x7), "3.1": (4, 0xF), "4.0": (4, 0x107), "quad": (4, 0x33), "5.0": (5, 0x37), "5.1": (6, 0x3F),
    "5.1-side": (6, 0x60F), "6.1": (7, 0x70F), "7.1": (8, 0x63F),
}  # fmt: skip


def wav_cases():
    short = lambda: music(seconds=3.0)
    for form in ("u8", "s16", "s24", "s32", "f32", "f64"):
        case(f"wav-{form}.wav", f"{form}", "pcm", save(lambda form=form: wav(short(), form=form)), level=QUICK)
    for rate in (8000, 22050, 48000, 96000, 192000):
        case(f"wav-{rate}.wav", f"{rate} Hz", "pcm", save(lambda rate=rate: wav(music(seconds=3.0, rate=rate), rate)),
             level=QUICK if rate in (48000, 96000) else ALL)  # fmt: skip
    for name, codec, kind in [("alaw", "pcm_alaw", "pcm"), ("mulaw", "pcm_mulaw", "pcm"), ("adpcm-ms", "adpcm_ms", "adpcm"),
                              ("adpcm-ima", "adpcm_ima_wav", "adpcm"), ("mp3", "libmp3lame", "mp3")]:  # fmt: skip
        for channels in (1, 2):
            case(f"wav-{name}-{channels}.wav", f"{codec}, {channels} channels", kind, level=QUICK if channels == 2 else ALL,
                 make=lambda path, codec=codec, channels=channels: ffmpeg("-c:a", codec, source=song(channels=channels), folder=path))  # fmt: skip
    for name, (count, mask) in MASKS.items():
        case(f"wav-{name}.wav", f"extensible, {name}, mask {mask:#x}", "pcm",
             save(lambda count=count, mask=mask: wav(tones(count, RATE), fmt=40, mask=mask)),
             level=QUICK if name in ("2.1", "4.0", "5.1", "7.1") else ALL)  # fmt: skip
    for count in range(1, 9):
        case(f"wav-no-mask-{count}.wav", f"{count} channels, no mask", "pcm", save(lambda count=count: wav(tones(count, RATE))),
             level=QUICK if count == 6 else ALL)  # fmt: skip
        case(f"wav-mask-0-{count}.wav", f"extensible, {count} channels, mask 0", "pcm",
             save(lambda count=count: wav(tones(count, RATE), fmt=40, mask=0)))  # fmt: skip
    info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Title\0"))
    broken = chunk(b"LIST", b"INFO" + b"INAM" + struct.pack("<I", 5000) + b"Title\0")
    for name, what, how, level in [
        ("riff-0", "RIFF and data size 0", dict(riff=0, data=0), QUICK),
        ("data-0", "RIFF size 36, data size 0", dict(riff=36, data=0), QUICK),
        ("riff-8", "RIFF size 8 too small", dict(riff=lambda size: size - 8), QUICK),
        ("riff-large", "RIFF size 1000 too large", dict(riff=lambda size: size + 1000), ALL),
        ("pipe-ffmpeg", "sizes 0xFFFFFFFF", dict(riff=0xFFFFFFFF, data=0xFFFFFFFF), QUICK),
        ("pipe-sox", "sizes 0x7FFFF024 and 0x7FFFF000", dict(riff=0x7FFFF024, data=0x7FFFF000), QUICK),
        ("fmt-18", "fmt of 18", dict(fmt=18), ALL), ("fmt-20", "fmt of 20", dict(fmt=20), QUICK),
        ("fmt-40", "fmt of 40", dict(fmt=40, mask=3), ALL),
        ("valid-0", "extensible, valid bits 0", dict(fmt=40, mask=3, valid=0), QUICK),
        ("valid-0-float", "extensible floats, valid bits 0", dict(fmt=40, mask=3, valid=0, form="f32"), ALL),
        ("valid-20", "extensible, 20 valid bits of 24", dict(fmt=40, mask=3, valid=20, form="s24"), ALL),
        ("fact-4", "fact of 4", dict(fmt=18, form="f32", before=chunk(b"fact", struct.pack("<I", 3 * RATE))), ALL),
        ("fact-8", "fact of 8", dict(fmt=18, form="f32", before=chunk(b"fact", struct.pack("<II", 3 * RATE, 0))), QUICK),
        ("list-before", "LIST INFO before data", dict(before=info), ALL), ("list-behind", "LIST INFO after the data", dict(after=info), ALL),
        ("list-bad", "LIST INFO with a child longer than itself", dict(before=broken), QUICK),
        ("list-bad-behind", "the same after data", dict(after=broken), ALL),
        ("bext", "leading bext and JUNK", dict(first=chunk(b"JUNK", bytes(28)) + chunk(b"bext", bytes(602))), ALL),
        ("id3", "trailing id3 chunk", dict(after=chunk(b"id3 ", id3v2(100))), ALL),
        ("junk-behind", "trailing junk", dict(behind=junk(2_001)), QUICK), ("id3v1-behind", "trailing ID3v1", dict(behind=id3v1()), ALL),
        ("odd-chunk", "a chunk of odd size before data, without padding", dict(before=chunk(b"abcd", b"123", pad=False)), ALL),
    ]:  # fmt: skip
        # ffmpeg always skips a padding byte, even if it is missing, and then finds no data.
        like = "wav-s16.wav" if name in ("odd-chunk", "fmt-20", "riff-8", "data-0", "riff-0") else None
        case(f"wav-{name}.wav", what, "pcm", save(lambda how=how: wav(short(), **how)), level=level, like=like,
             expect="either" if name == "odd-chunk" else "decode")  # fmt: skip
    case("wav-odd-data.wav", "24 bits mono of odd size, no padding, trailing LIST", "pcm",
         save(lambda: wav(music(seconds=1.0001, channels=1)[:44101], form="s24", pad=False, after=info)), like=None)  # fmt: skip
    def data_first():
        body = samples(short(), "s16")
        shape = struct.pack("<HHIIHH", 1, 2, RATE, RATE * 4, 4, 16)
        inside = b"WAVE" + chunk(b"data", body) + chunk(b"fmt ", shape)
        return b"RIFF" + struct.pack("<I", len(inside)) + inside

    case("wav-data-first.wav", "data before fmt", "pcm", save(data_first), expect="reject")
    case("wav-cut.wav", "cut after 60 %", "pcm", save(lambda: wav(short())[: 3 * RATE * 4 * 6 // 10]), expect="reject")
    case("wav-rf64.wav", "RF64", "pcm", level=QUICK,
         make=lambda path: ffmpeg("-rf64", "always", source=wav(short()), folder=path))  # fmt: skip
    case("wav-w64.w64", "Wave64", "pcm", lambda path: ffmpeg(source=wav(short()), folder=path), expect="either")
    case("wav-sox-24.wav", "24 bits by sox (extensible)", "pcm",
         save(lambda: run("sox", "-t", "wav", "-", "-b", "24", "-t", "wav", "-", data=wav(short(), form="s24"))))  # fmt: skip

    for form, kind in [("s8", None), ("s16", None), ("s24", None), ("s32", None), ("s16", b"NONE"), ("s16", b"sowt"), ("f32", b"fl32"),
                       ("f32", b"FL32"), ("f64", b"fl64"), ("s24", b"in24"), ("s32", b"in32"), ("s16", b"twos")]:  # fmt: skip
        name = f"aifc-{kind.decode()}-{form}.aifc" if kind else f"aiff-{form}.aiff"
        # The names must not differ only in case: some file systems ignore case.
        if kind == b"FL32":
            name = "aifc-upper-f32.aifc"
        case(name, f"{'AIFC ' + kind.decode() if kind else 'AIFF'}, {form}", "pcm",
             save(lambda form=form, kind=kind: aiff(short(), form=form, kind=kind)),
             level=QUICK if kind in (None, b"sowt", b"fl32") else ALL, expect="either" if kind in (b"in32", b"twos") else "decode")  # fmt: skip
    for codec, kind in [("alaw", "pcm"), ("mulaw", "pcm"), ("ima4", "ima4")]:
        name = {"alaw": "pcm_alaw", "mulaw": "pcm_mulaw", "ima4": "adpcm_ima_qt"}[codec]
        case(f"aifc-{codec}.aifc", f"AIFC {codec}", kind, expect="either" if codec == "ima4" else "decode",
             make=lambda path, name=name: ffmpeg("-c:a", name, source=song(seconds=3.0), folder=path))  # fmt: skip
    case("aiff-form-long.aiff", "FORM size 1000 too large", "pcm", level=QUICK,
         make=save(lambda: aiff(short(), form_size=lambda size: size + 1000)), like="aiff-s16.aiff")  # fmt: skip
    case("aiff-form-short.aiff", "FORM size 8 too small", "pcm",
         save(lambda: aiff(short(), form_size=lambda size: size - 8)), like="aiff-s16.aiff")  # fmt: skip
    case("aiff-junk-behind.aiff", "trailing junk", "pcm", save(lambda: aiff(short()) + junk(2_001)))
    case("aiff-96000.aiff", "96 kHz, 24 bits", "pcm", save(lambda: aiff(music(seconds=3.0, rate=96000), 96000, "s24")))

    for name, kind, options, rate, level in [
        ("caf-s16", "pcm", ("-c:a", "pcm_s16be"), RATE, QUICK), ("caf-s16le", "pcm", ("-c:a", "pcm_s16le"), RATE, ALL),
        ("caf-s24", "pcm", ("-c:a", "pcm_s24be"), RATE, ALL), ("caf-f32", "pcm", ("-c:a", "pcm_f32le"), RATE, ALL),
        ("caf-f64", "pcm", ("-c:a", "pcm_f64be"), RATE, ALL), ("caf-alac", "lossless", ("-c:a", "alac"), RATE, QUICK),
        ("caf-alaw", "pcm", ("-c:a", "pcm_alaw"), RATE, ALL), ("caf-ima4", "ima4", ("-c:a", "adpcm_ima_qt"), RATE, ALL),
        ("caf-opus", "opus", ("-c:a", "libopus"), 48000, ALL),
    ]:  # fmt: skip
        case(f"{name}.caf", f"CAF, {options[1]}", kind, level=level, expect="decode" if kind in ("pcm", "lossless") else "either",
             make=lambda path, options=options, rate=rate: ffmpeg(*options, source=song(seconds=3.0, rate=rate), folder=path))  # fmt: skip
    case("caf-aac.caf", "CAF, AAC", "aac", lambda path: path.write_bytes(caf_aac(m4a(path.with_suffix(".m4a")))), expect="either")
    for name, codec, more in [("sowt", "pcm_s16le", ()), ("twos", "pcm_s16be", ()), ("in24", "pcm_s24be", ()), ("in24-little", "pcm_s24le", ()),
                              ("in32", "pcm_s32be", ()), ("in32-little", "pcm_s32le", ()), ("fl32", "pcm_f32be", ()),
                              ("fl32-little", "pcm_f32le", ()), ("fl64", "pcm_f64be", ()), ("fl64-little", "pcm_f64le", ()),
                              ("raw-u8", "pcm_u8", ()), ("alaw", "pcm_alaw", ()),
                              ("mulaw", "pcm_mulaw", ()), ("ima4", "adpcm_ima_qt", ())]:  # fmt: skip
        case(f"mov-{name}.mov", f"QuickTime, {codec} {' '.join(more)}".strip(), "ima4" if name == "ima4" else "pcm", expect="either",
             level=QUICK if name in ("sowt", "twos", "fl32", "in24") else ALL,
             make=lambda path, codec=codec, more=more: ffmpeg("-c:a", codec, *more, source=wav(short(), form="s24"), folder=path))  # fmt: skip
    # Above 65,535 Hz, ffmpeg writes lpcm in a sample description of version 2.
    fast = lambda: wav(music(seconds=2.0, rate=96000), 96000, "s24")
    for codec in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be", "f64le", "f64be"):
        case(f"mov-lpcm-{codec}.mov", f"QuickTime, lpcm, {codec}, 96 kHz", "pcm", expect="either", level=QUICK if codec == "s24be" else ALL,
             make=lambda path, codec=codec: ffmpeg("-c:a", f"pcm_{codec}", source=fast(), folder=path))  # fmt: skip
    for codec in ("pcm_s16be", "pcm_s24le"):
        case(f"mp4-{codec}.mp4", f"PCM in MP4 ({codec})", "pcm", expect="either",
             make=lambda path, codec=codec: ffmpeg("-c:a", codec, "-f", "mov", source=wav(short(), form="s24"), folder=path))  # fmt: skip


# ---- FLAC, Ogg -------------------------------------------------------------------------------------------------------


def flac(*options, source=None):
    return run("flac", "--silent", "--stdout", *options, "-", data=source or song())


def flac_blocks(data):
    """Offset, type and length of each metadata block, and the offset of the frames."""
    at, found = 4, []
    while True:
        last, kind = data[at] >> 7, data[at] & 127
        length = int.from_bytes(data[at + 1 : at + 4], "big")
        found.append((at, kind, length))
        at += 4 + length
        if last:
            return found, at


def with_picture(data, claim):
    """The file with a picture block that claims `claim(size)` bytes for its picture."""
    body = struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">IIIIII", 0, 100, 100, 24, 0, claim(len(JPEG))) + JPEG
    return data[:42] + bytes([6]) + len(body).to_bytes(3, "big") + body + data[42:]


def patch(data, at, new):
    return data[:at] + new + data[at + len(new) :]


OGG_TABLE = []
for byte in range(256):
    register = byte << 24
    for _ in range(8):
        register = ((register << 1) ^ 0x04C11DB7 if register & 0x80000000 else register << 1) & 0xFFFFFFFF
    OGG_TABLE.append(register)


def ogg_pages(data):
    at = 0
    while at + 27 <= len(data) and data[at : at + 4] == b"OggS":
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        yield data[at : at + size]
        at += size


def granule(page):
    return struct.unpack("<q", page[6:14])[0]


def with_granule(page, value):
    """The page with another granule position and an updated checksum."""
    page = page[:6] + struct.pack("<q", value) + page[14:22] + bytes(4) + page[26:]
    check = 0
    for byte in page:
        check = ((check << 8) & 0xFFFFFFFF) ^ OGG_TABLE[(check >> 24) ^ byte]
    return page[:22] + struct.pack("<I", check) + page[26:]


def shifted(data, by, headers):
    """The stream with later granule positions."""
    pages = list(ogg_pages(data))
    return b"".join(page if at < headers or granule(page) < 0 else with_granule(page, granule(page) + by) for at, page in enumerate(pages))


def cut_start(data, headers, drop):
    """The stream without its first audio pages, as in a recording of a web radio."""
    pages = list(ogg_pages(data))
    return b"".join(pages[:headers] + pages[headers + drop :])


def vorbis(*options, serial=1, **how):
    return run("oggenc", "--quiet", "--serial", serial, *options, "-o", "-", "-", data=song(**how))


def opus(*options, serial=1, source=None):
    return run("opusenc", "--quiet", "--serial", serial, "--padding", "0", *options, "-", "-", data=source or song(rate=48000))


def flac_ogg_cases():
    short = lambda: music(seconds=3.0)
    for form in ("u8", "s16", "s24"):
        case(f"flac-{form}.flac", f"{form}", "lossless", save(lambda form=form: flac(source=wav(short(), form=form))),
             level=QUICK if form != "u8" else ALL)  # fmt: skip
    case("flac-s32.flac", "32 bits", "lossless", save(lambda: flac(source=wav(short(), form="s32"))), level=QUICK,
         like="wav-s32.wav")  # fmt: skip
    for bits in (12, 20):
        case(f"flac-{bits}-bits.flac", f"{bits} bits", "lossless", save(lambda bits=bits: run(
            "flac", "--silent", "--stdout", "-", data=wav(np.floor(short() * 2 ** (bits - 1)) / 2 ** (bits - 1), fmt=40, mask=3, valid=bits,
                                                          form="s16" if bits == 12 else "s24"))))  # fmt: skip
    for rate in (8000, 48000, 96000, 192000):
        case(f"flac-{rate}.flac", f"{rate} Hz", "lossless", save(lambda rate=rate: flac(source=wav(music(3.0, rate), rate))))
    for name, (count, mask) in MASKS.items():
        # A layout other than FLAC's default is stored in a comment.
        case(f"flac-{name}.flac", f"{name}", "lossless", level=QUICK if name in ("6.1", "4.0") else ALL,
             make=lambda path, count=count, mask=mask: ffmpeg(source=wav(tones(count, RATE), fmt=40, mask=mask), folder=path))  # fmt: skip
    plain = lambda: flac("--no-padding")
    case("flac-id3v2.flac", "leading ID3v2", "lossless", save(lambda: id3v2(2000) + plain()), level=QUICK)
    case("flac-id3v1.flac", "trailing ID3v1", "lossless", save(lambda: plain() + id3v1()), level=QUICK)
    case("flac-junk.flac", "trailing junk", "lossless", save(lambda: plain() + junk(3_000)))
    case("flac-total-0.flac", "total samples unknown", "lossless", level=QUICK,
         make=save(lambda: patch(plain(), 21, bytes([plain()[21] & 0xF0]) + bytes(4))))  # fmt: skip
    case("flac-min-0.flac", "minimum block 0", "lossless", save(lambda: patch(plain(), 8, bytes(2))), level=QUICK)
    case("flac-min-max-0.flac", "minimum and maximum block 0", "lossless", save(lambda: patch(plain(), 8, bytes(4))), expect="either")
    case("flac-md5-0.flac", "no MD5", "lossless", save(lambda: patch(plain(), 26, bytes(16))))
    case("flac-md5-wrong.flac", "wrong MD5", "lossless", save(lambda: patch(plain(), 26, bytes(range(16)))), expect="either")
    case("flac-picture.flac", "a picture", "lossless", save(lambda: with_picture(plain(), lambda size: size)))
    case("flac-picture-long.flac", "a picture that claims more bytes than its block has", "lossless", level=QUICK,
         make=save(lambda: with_picture(plain(), lambda size: size + 70_000)))  # fmt: skip
    def flipped():
        data = bytearray(flac())
        data[len(data) // 2] ^= 4
        return bytes(data)

    case("flac-one-bit-flipped.flac", "one bit flipped in one frame", "lossless", save(flipped), expect="whole", level=QUICK, like="flac.flac")
    case("flac.flac", "the same without the flip", "lossless", save(flac))
    case("flac-cut.flac", "cut after 60 %", "lossless", save(lambda: plain()[: len(plain()) * 6 // 10]), expect="reject")
    case("flac-in-ogg.oga", "Ogg FLAC", "lossless", level=QUICK,
         make=save(lambda: run("flac", "--silent", "--stdout", "--ogg", "--serial-number=1", "-", data=song())))  # fmt: skip

    for quality in (-1, 2, 6, 10):
        case(f"vorbis-q{quality}.ogg", f"Vorbis q{quality}", "vorbis", save(lambda quality=quality: vorbis("-q", quality)),
             level=QUICK if quality == 6 else ALL)  # fmt: skip
    for rate in (8000, 22050, 48000):
        case(f"vorbis-{rate}.ogg", f"Vorbis, {rate} Hz", "vorbis", save(lambda rate=rate: vorbis(rate=rate)))
    case("vorbis-mono.ogg", "Vorbis, mono", "vorbis", save(lambda: vorbis(channels=1)))
    case("vorbis-lavf.ogg", "Vorbis by ffmpeg", "vorbis", save(lambda: ffmpeg("-c:a", "libvorbis", source=song(), form="ogg")))
    for name in ("3.0", "quad", "5.0", "5.1", "6.1", "7.1"):
        count, mask = MASKS[name]
        case(f"vorbis-{name}.ogg", f"Vorbis, {name}", "vorbis", level=QUICK if name == "5.1" else ALL,
             make=save(lambda count=count, mask=mask: ffmpeg("-c:a", "libvorbis", source=wav(tones(count, RATE), fmt=40, mask=mask), form="ogg")))  # fmt: skip
    # oggenc writes three headers on two pages.
    case("vorbis-chained.ogg", "chained, same rate", "vorbis", level=QUICK, joints=(5 * RATE,), slack=256,
         make=save(lambda: vorbis() + vorbis(serial=2, seed=2, seconds=3.0)))  # fmt: skip
    case("vorbis-chained-rates.ogg", "chained, 44.1 and 48 kHz", "vorbis", expect="either", slack=4096, joints=(5 * RATE,),
         min_snr=15.0, make=save(lambda: vorbis() + vorbis(serial=2, rate=48000)))  # fmt: skip
    case("vorbis-1-h.ogg", "granules start at 1 h", "vorbis", level=QUICK, make=save(lambda: shifted(vorbis(), 3600 * RATE, 2)), slack=2048)
    case("vorbis-odd.ogg", "granules start at 12,345", "vorbis", save(lambda: shifted(vorbis(), 12_345, 2)), slack=2048)
    case("vorbis-cut-start.ogg", "the first audio pages are missing", "vorbis", slack=2048, skip=4096, level=QUICK,
         make=save(lambda: cut_start(vorbis("-q", 6, seconds=20.0), 2, 2)))  # fmt: skip
    case("vorbis-junk.ogg", "trailing junk", "vorbis", save(lambda: vorbis() + junk(3_000)))
    case("vorbis-cut.ogg", "cut in the middle of a page", "vorbis", save(lambda: vorbis()[:-1500]), expect="either")

    for bitrate in (24, 96, 256):
        case(f"opus-{bitrate}.opus", f"Opus, {bitrate} kbit/s", "opus", save(lambda bitrate=bitrate: opus("--bitrate", bitrate)),
             level=QUICK if bitrate == 96 else ALL)  # fmt: skip
    case("opus-mono.opus", "Opus, mono", "opus", save(lambda: opus(source=song(rate=48000, channels=1))))
    case("opus-44100.opus", "Opus of a song of 44.1 kHz", "opus", save(lambda: opus(source=song())))
    case("opus-gain.opus", "Opus with an output gain of -6 dB", "opus", save(lambda: opus_gain(opus())))
    for name in ("5.1", "7.1", "quad"):
        count, mask = MASKS[name]
        case(f"opus-{name}.opus", f"Opus, {name}", "opus", level=QUICK if name == "5.1" else ALL,
             make=save(lambda count=count, mask=mask: opus(source=wav(tones(count, 48000), 48000, fmt=40, mask=mask))))  # fmt: skip
    case("opus-1-h.opus", "Opus, granules start at 1 h", "opus", slack=960, make=save(lambda: shifted(opus(), 3600 * 48000, 2)))
    case("opus-chained.opus", "Opus, chained", "opus", slack=960, joints=(5 * 48000,), make=save(lambda: opus() + opus(serial=2, source=song(rate=48000, seed=2))))
    case("opus-cut-start.opus", "Opus, the first audio pages are missing", "opus", slack=960, skip=9600,
         make=save(lambda: cut_start(opus(), 2, 1)))  # fmt: skip
    case("speex.spx", "Speex: no decoder", "opus", expect="reject",
         make=save(lambda: ffmpeg("-c:a", "libspeex", "-ac", "1", source=song(rate=16000, channels=1), form="ogg")))  # fmt: skip


def opus_gain(data):
    """The file with a gain of -6 dB in its header, which is on the first page."""
    pages = list(ogg_pages(data))
    head = pages[0]
    at = head.find(b"OpusHead") + 16
    head = head[:at] + struct.pack("<h", -6 * 256) + head[at + 2 :]
    return with_granule(head, granule(head)) + b"".join(pages[1:])


def other_cases():
    case("empty.mp3", "an empty file", "mp3", save(lambda: b""), expect="reject", level=QUICK)
    case("text.mp3", "a text file", "mp3", save(lambda: b"This is no music.\n" * 2000), expect="reject", level=QUICK)
    case("picture.mp3", "a picture", "mp3", save(lambda: JPEG), expect="reject")
    case("zeros.wav", "zeros", "pcm", save(lambda: bytes(100_000)), expect="reject")
    case("wav-named.mp3", "a WAV file named mp3", "pcm", save(lambda: wav(music(seconds=2.0))), level=QUICK)
    case("m4a-named.mp3", "an M4A file named mp3", "aac",
         lambda path: path.write_bytes(m4a(path.with_suffix(".m4a"))) and path.with_suffix(".m4a").unlink())  # fmt: skip
    case("silence.flac", "silence", "lossless", save(lambda: flac(source=wav(np.zeros((2 * RATE, 2))))))
    case("wma.wma", "WMA: no decoder", "aac", lambda path: ffmpeg("-c:a", "wmav2", source=song(), folder=path), expect="reject")


# ---- Given files -----------------------------------------------------------------------------------------------------


def given(folder):
    """Adds cases for the files of a folder, with descriptions from its README.md if it has one."""
    words = {}
    if (folder / "README.md").exists():
        for line in (folder / "README.md").read_text().splitlines():
            if found := re.match(r"(\S+\.\w+)\s+\d+ kB\s+(.*)", line):
                words[found[1]] = found[2]
    for path in sorted(folder.iterdir()):
        kind = {".mp3": "mp3", ".aac": "aac", ".m4a": "aac", ".ogg": "vorbis", ".opus": "opus", ".flac": "lossless"}.get(path.suffix, "pcm")
        if "-he-" in path.name:
            kind = "he-aac"
        if path.suffix in (".md", ".py", ".txt"):
            continue
        special = {}
        if "one-bit" in path.name:
            special = dict(expect="whole")
        if kind == "vorbis" and "granules" in path.name:
            special = dict(slack=2048)
        if "edit-list" in path.name:
            # ffmpeg starts to decode at the edit: its first frame lacks the overlap with the previous frame, and its
            # noise substitution differs.
            special = dict(skip=2048, min_snr=10.0)
        if "two-joined" in path.name:
            special = dict(joints=(3 * RATE,))
        case(f"given/{path.name}", words.get(path.name, "given"), kind, lambda made, path=path: shutil.copyfile(path, made), level=QUICK, **special)


def corpus(he_aac=None, folder=None):
    """All cases. `he_aac` is the path of the HE-AAC encoder, `folder` a folder with additional files."""
    CASES.clear()
    mp3_cases()
    aac_cases(he_aac)
    video_cases()
    wav_cases()
    flac_ogg_cases()
    other_cases()
    if folder:
        given(folder)
    names = [each.name for each in CASES]
    duplicates = {name for name in names if names.count(name) > 1}
    if duplicates:
        raise ValueError(f"duplicate case names: {duplicates}")
    return CASES
