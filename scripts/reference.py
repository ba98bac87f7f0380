"""Compares Quartet's Demucs with the reference implementation, and generates the stored test values. scripts/parity and
scripts/bench run this.

Random weights must give every branch a visible effect, so that a missing branch is detected. With the default
initialisation, the layer scales are so small that the whole transformer changes the output by only 1e-5. So the scales
are drawn from 0.5 to 1, all vectors get noise, and all weights are rounded to half precision, as in checkpoints.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from demucs import spec, states
from demucs.apply import BagOfModels, apply_model
from demucs.demucs import BLSTM, LocalState
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

FOUR = ["drums", "bass", "other", "vocals"]
# Arguments of the released checkpoints.
RELEASED = dict(
    sources=FOUR, audio_channels=2, samplerate=44100, segment=Fraction(39, 5), channels=48, channels_time=None, growth=2,
    nfft=4096, wiener_iters=0, end_iters=0, wiener_residual=False, cac=True, depth=4, rewrite=True, multi_freqs=[],
    multi_freqs_depth=3, freq_emb=0.2, emb_scale=10, emb_smooth=True, kernel_size=8, time_stride=2, stride=4, context=1,
    context_enc=0, norm_starts=4, norm_groups=4, dconv_mode=3, dconv_depth=2, dconv_comp=8, dconv_init=1e-3,
    bottom_channels=512, t_layers=5, t_hidden_scale=4.0, t_heads=8, t_dropout=0.0, t_layer_scale=True, t_gelu=True,
    t_norm_in=True, t_norm_first=True, t_norm_out=True, t_emb="sin", use_train_segment=True,
)
SIX = dict(RELEASED, sources=FOUR + ["guitar", "piano"], bottom_channels=0)
TINY = dict(
    RELEASED, sources=["drums", "vocals"], segment=Fraction(1, 5), channels=4, nfft=2048, bottom_channels=16, t_layers=2,
    t_heads=2, t_hidden_scale=2.0, dconv_comp=4,
)
# Hybrid Demucs with the segment of its released checkpoint.
HYBRID = dict(
    sources=FOUR, audio_channels=2, samplerate=44100, segment=44, channels=48, channels_time=None, growth=2, nfft=4096,
    wiener_iters=0, end_iters=0, wiener_residual=False, cac=True, depth=6, rewrite=True, hybrid=True, hybrid_old=False,
    multi_freqs=[], multi_freqs_depth=3, freq_emb=0.2, emb_scale=10, emb_smooth=True, kernel_size=8, stride=4,
    time_stride=2, context=1, context_enc=0, norm_starts=4, norm_groups=4, dconv_mode=1, dconv_depth=2, dconv_comp=4,
    dconv_attn=4, dconv_lstm=4, dconv_init=1e-3, rescale=0.1,
)
# Just long enough that the recurrent network runs in pieces in one layer and in one piece in the next.
TINY_HYBRID = dict(
    HYBRID, sources=["drums", "vocals"], segment=Fraction(3, 10), channels=4, nfft=256, depth=4, norm_starts=2,
    dconv_mode=3, dconv_attn=2, dconv_lstm=2,
)
# Largest relative root mean square error. Two correct single-precision computations differ by 1e-6 to 2e-6.
ALLOWED = 5e-6


def make(seed, arguments, klass=HTDemucs):
    """A model with random weights that all affect the output."""
    torch.manual_seed(seed)
    model = klass(**arguments).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("scale") and weight.dim() == 1:
                weight.copy_(0.5 + 0.5 * torch.rand(weight.shape, generator=generator))
            elif name.endswith("query_decay.bias"):
                # With the default initialisation, no score decays.
                weight.normal_(mean=-2, std=0.5, generator=generator)
            elif klass is HDemucs and weight.dim() > 2 and "dconv" not in name:
                # With the default initialisation, activations without a norm shrink from layer to layer, until deep
                # layers see little but biases. These weights roughly keep the magnitude. With 2 instead of 1.2,
                # PyTorch's own rounding grows to an error of 5e-4.
                fan_in = weight.shape[1:].numel() if "conv_tr" not in name else 2 * weight.shape[0]
                weight.normal_(std=1.2 / math.sqrt(fan_in), generator=generator)
            elif weight.dim() == 1:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
            weight.copy_(weight.half().float())
    return model


def save(model, folder, name):
    """Writes a checkpoint in the format of the released ones and returns its file name."""
    args, kwargs = model._init_args_kwargs
    package = dict(klass=type(model), args=args, kwargs=kwargs, state=states.get_state(model, None, half=True),
                   training_args={"epochs": 1, "dset": {"segment": 11.0, "sources": FOUR}, "note": None})
    states.save_with_checksum(package, folder / f"{name}.th")
    return next(file.name for file in folder.glob(f"{name}-*.th"))


def save_safetensors(model, path):
    """Writes a checkpoint in the format that demucs 4.1 reads from a hub."""
    from safetensors.torch import save_file

    def to_json(value):
        if isinstance(value, Fraction):
            return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
        return value

    args, kwargs = model._init_args_kwargs
    metadata = dict(klass=f"{type(model).__module__}.{type(model).__name__}",
                    args=json.dumps([to_json(value) for value in args]),
                    kwargs=json.dumps({name: to_json(value) for name, value in kwargs.items()}))
    save_file({name: value.half() for name, value in model.state_dict().items()}, path, metadata=metadata)


def read_wav(path):
    """The samples of a WAV file with 16-bit integers or 32-bit floats, as [channels, frames]."""
    data = path.read_bytes()
    at, kind, frames = 12, None, None
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if name == b"fmt ":
            kind = np.dtype("<i2" if int.from_bytes(body[14:16], "little") == 16 else "<f4")
        elif name == b"data":
            frames = np.frombuffer(body, kind)
        at += 8 + length + length % 2
    samples = frames.astype(np.float32).reshape(-1, 2).T
    return torch.from_numpy(np.ascontiguousarray(samples / 32768 if kind == np.dtype("<i2") else samples))


def separate(model, song):
    """Separates as demucs' own command does, without shifts."""
    mono = song.mean(0)
    mean, std = mono.mean(), mono.std() + 1e-8
    with torch.no_grad():
        stems = apply_model(model, ((song - mean) / std)[None], shifts=0, split=True, overlap=0.25)[0]
    return stems * std + mean


def compare(found, expected):
    """Largest difference, signal-to-noise ratio in dB, and relative root mean square error."""
    error = found.double() - expected.double()
    power = expected.double().square().mean()
    noise = error.square().mean()
    return error.abs().max().item(), 10 * math.log10(power / max(noise, 1e-300)), math.sqrt(noise / power)


class Quartet:
    """Runs `node separate` on a song."""

    def __init__(self, node, folder, song):
        self.node, self.folder, self.song = node, folder, song
        self.models = folder / "models"
        self.models.mkdir()

    def add(self, name, files, **settings):
        """Adds a model."""
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in dict(files=files, **settings).items())
        (self.models / f"{name}.toml").write_text(text)

    def stems(self, name, sources):
        """The stems that the model returns, as [sources, channels, frames]."""
        out = self.folder / "separated"
        self.run(name, out)
        return torch.stack([read_wav(out / name / self.song.stem / f"{source}.wav") for source in sources])

    def run(self, name, out):
        command = [self.node, "separate", self.song, "-n", name, "-o", out, "--float32", "--clip-mode", "none"]
        subprocess.run(command, check=True, env={"QUARTET_MODELS": str(self.models), "PATH": "/usr/bin:/bin"},
                       stderr=subprocess.DEVNULL)


def planted():
    """Possible faults of a port of HTDemucs. Each function plants its fault in the reference, or removes it."""
    original = dict(gelu=F.gelu, hann=torch.hann_window)

    def transformer(model, on):
        if on:
            model._kept, model.crosstransformer.forward = model.crosstransformer.forward, lambda x, xt: (x, xt)
        else:
            model.crosstransformer.forward = model._kept

    def position(model, on):
        model.crosstransformer.weight_pos_embed = 0.0 if on else 1.0

    def gelu(model, on):
        changed = (lambda x, approximate="none": original["gelu"](x, approximate="tanh")) if on else original["gelu"]
        F.gelu = changed
        torch.nn.functional.gelu = changed
        for layers in (model.crosstransformer.layers, model.crosstransformer.layers_t):
            for layer in layers:
                layer.activation = changed

    def window(model, on):
        symmetric = lambda size, *rest, **more: original["hann"](size, periodic=False)
        torch.hann_window = spec.th.hann_window = symmetric if on else original["hann"]

    return {"no transformer": transformer, "no positional embedding": position, "GELU approximated by tanh": gelu,
            "symmetric window": window}


def planted_in_hybrid():
    """Possible faults of a port of Hybrid Demucs, as in `planted`."""
    original = dict(lstm=BLSTM.forward, attention=LocalState.forward, eye=torch.eye)

    def of(model, klass):
        return [module for module in model.modules() if isinstance(module, klass)]

    def lstm(model, on):
        BLSTM.forward = (lambda self, x: x) if on else original["lstm"]

    def pieces(model, on):
        for module in of(model, BLSTM):
            module.max_steps = None if on else 200

    def attention(model, on):
        LocalState.forward = (lambda self, x: x) if on else original["attention"]

    def decay(model, on):
        for module in of(model, LocalState):
            module.ndecay = 0 if on else 4

    def self_attention(model, on):
        torch.eye = (lambda *sizes, **more: original["eye"](*sizes, **more) & False) if on else original["eye"]

    def waveform(model, on):
        layer = model.tdecoder[0]
        if on:
            layer._kept, layer.forward = layer.forward, lambda *inputs: (0 * layer._kept(*inputs)[0], None)
        else:
            layer.forward = layer._kept

    return {"no LSTM": lstm, "LSTM in one piece": pieces, "no local attention": attention,
            "attention without decay": decay, "attention to the own position": self_attention,
            "no waveform branch in the decoder": waveform}


def parity(options):
    folder, failed = Path(options.folder), 0
    quartet = Quartet(options.node, folder, Path(options.song))
    song = read_wav(Path(options.song))
    cases, faults = [], []
    if not options.hybrid:
        base = make(1, RELEASED)
        quartet.add("htdemucs", [save(base, quartet.models, "one")])
        save_safetensors(base, quartet.models / "one.safetensors")
        quartet.add("htdemucs-safetensors", ["one.safetensors"])
        found = quartet.stems("htdemucs", FOUR)
        cases.append(("htdemucs", found, base))
        cases.append(("htdemucs-safetensors", quartet.stems("htdemucs-safetensors", FOUR), base))
        faults.append((found, base, planted()))
    if not options.quick and not options.hybrid:
        identity = [[float(row == column) for column in range(4)] for row in range(4)]
        bag = [base] + [make(seed, RELEASED) for seed in (2, 3, 4)]
        files = [save(model, quartet.models, f"ft{at}") for at, model in enumerate(bag)]
        quartet.add("htdemucs_ft", files, weights=identity)
        cases.append(("htdemucs_ft", quartet.stems("htdemucs_ft", FOUR), BagOfModels(bag, identity)))
        six = make(5, SIX)
        quartet.add("htdemucs_6s", [save(six, quartet.models, "six")])
        cases.append(("htdemucs_6s", quartet.stems("htdemucs_6s", SIX["sources"]), six))
    if not options.quick:
        hybrid = make(6, HYBRID, HDemucs)
        file = save(hybrid, quartet.models, "hybrid")
        # The song is shorter than a segment, so that the segment is as long as the song.
        quartet.add("hdemucs_mmi", [file])
        found = quartet.stems("hdemucs_mmi", FOUR)
        cases.append(("hdemucs_mmi", found, hybrid))
        faults.append((found, hybrid, planted_in_hybrid()))
        # Several segments, of which the last is shorter.
        quartet.add("hdemucs_mmi-9s", [file], segment=9.0)
        cases.append(("hdemucs_mmi-9s", quartet.stems("hdemucs_mmi-9s", FOUR), make(6, dict(HYBRID, segment=9), HDemucs)))
    print(f"{'configuration':<22} {'stem':<8} {'largest difference':>18} {'SNR, dB':>9} {'relative error':>15}")
    for name, stems, model in cases:
        reference = separate(model, song)
        for at, source in enumerate(model.sources):
            largest, snr, error = compare(stems[at], reference[at])
            failed += error > ALLOWED
            verdict = "" if error <= ALLOWED else "   TOO LARGE"
            print(f"{name:<22} {source:<8} {largest:>18.2e} {snr:>9.1f} {error:>15.2e}{verdict}", flush=True)
    print(f"\nFaults planted in the reference: each must cause a relative error above {ALLOWED:.0e}")
    for found, model, plants in faults:
        for name, plant in plants.items():
            plant(model, True)
            _, snr, error = compare(found, separate(model, song))
            plant(model, False)
            failed += error <= ALLOWED
            print(f"{name:<34} {snr:>9.1f} dB {error:>10.1e}{'' if error > ALLOWED else '   NOT DETECTED'}", flush=True)
        _, _, error = compare(found, separate(model, song))
        failed += error > ALLOWED
        print(f"{'no fault':<34} {error:>24.1e}", flush=True)
    sys.exit(f"{failed} comparisons failed" if failed else 0)


def tiny(options):
    """Generates the reference values of the fast tests: a segment of each small model, and shorter segments if possible."""
    folder = Path(options.folder)
    for name, model, shorter in (
        ("tiny", make(1, TINY), []),
        ("hybrid", make(1, TINY_HYBRID, HDemucs), [5000, 50]),
    ):
        args, kwargs = model._init_args_kwargs
        package = dict(klass=type(model), args=args, kwargs=kwargs, state=states.get_state(model, None, half=True),
                       training_args={"epochs": 1})
        torch.save(package, folder / f"{name}.th")
        save_safetensors(model, folder / f"{name}.safetensors")
        segment = chirps(int(model.segment * model.samplerate))
        with torch.no_grad():
            stems = [model(segment[None, :, :length])[0].flatten() for length in [segment.shape[1]] + shorter]
        torch.cat(stems).numpy().astype("<f4").tofile(folder / f"{name}.f32")


def chirps(length):
    """Two chirps with steps: easy to reproduce in another language, with a wide spectrum."""
    at = torch.arange(length, dtype=torch.float64)
    left = 0.5 * torch.sin(2e-5 * at * at) + 0.1 * ((at % 997) < 400)
    right = 0.3 * torch.sin(3e-5 * at * at + 1) - 0.2 * ((at % 1499) < 700)
    return torch.stack([left, right]).float()


def bench(options):
    """Times one segment and one song, alternating between the programs. Prints medians, ratios and peak memory."""
    folder = Path(options.folder)
    quartet = Quartet(options.node, folder, Path(options.song))
    torch.set_num_threads(options.threads)
    hybrid = options.model == "hdemucs_mmi"
    model = make(1, HYBRID, HDemucs) if hybrid else make(1, RELEASED)
    quartet.add(options.model, [save(model, quartet.models, "one")])
    checkpoint = next(quartet.models.glob("one-*.th"))
    length = int(model.segment * model.samplerate)
    song = read_wav(Path(options.song))
    segment = song[:, :length].contiguous()
    (folder / "segment.f32").write_bytes(segment.numpy().astype("<f4").tobytes())
    times = {"PyTorch": [], "Quartet": []}
    for _ in range(options.times + 1):
        started = time.perf_counter()
        with torch.no_grad():
            model(segment[None])
        times["PyTorch"].append(time.perf_counter() - started)
        run = subprocess.run([options.parity, checkpoint, folder / "segment.f32", folder / "out.f32", "2"], check=True,
                             env={"RAYON_NUM_THREADS": str(options.threads)}, capture_output=True, text=True)
        times["Quartet"].append(float(run.stdout.split()[-1]))
    show(f"{options.model}: a segment of {length / 44100:.1f} s", times)

    script = ("import sys, resource; sys.path.insert(0, sys.argv[1]); import reference as r; from pathlib import Path; "
              "import torch, time; torch.set_num_threads(int(sys.argv[2])); m = r.states.load_model(Path(sys.argv[3])); "
              "s = r.read_wav(Path(sys.argv[4])); t = time.perf_counter(); r.separate(m, s); "
              "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    times, peaks = {"PyTorch": [], "Quartet": []}, {"PyTorch": 0, "Quartet": 0}
    for _ in range(options.songs):
        run = subprocess.run([sys.executable, "-c", script, Path(__file__).parent, str(options.threads), checkpoint,
                              options.song], check=True, capture_output=True, text=True)
        seconds, kilobytes = run.stdout.split()
        times["PyTorch"].append(float(seconds))
        peaks["PyTorch"] = max(peaks["PyTorch"], int(kilobytes))
        command = ["/usr/bin/time", "-f", "%e %M", options.node, "separate", options.song, "-n", options.model, "-o",
                   folder / "separated", "-j", str(options.threads)]
        run = subprocess.run(command, check=True, capture_output=True, text=True,
                             env={"QUARTET_MODELS": str(quartet.models), "PATH": "/usr/bin:/bin"})
        seconds, kilobytes = run.stderr.split()[-2:]
        times["Quartet"].append(float(seconds))
        peaks["Quartet"] = max(peaks["Quartet"], int(kilobytes))
    if options.songs:
        show(f"A song of {song.shape[1] / 44100:.0f} s (Quartet's time includes decoding, loading and writing files)", times,
             keep_first=True)
        print(f"  peak memory: PyTorch {peaks['PyTorch'] / 1000:.0f} MB, Quartet {peaks['Quartet'] / 1000:.0f} MB, "
              f"ratio {peaks['Quartet'] / peaks['PyTorch']:.2f}")


def show(title, times, keep_first=False):
    medians = {}
    print(f"{title}, seconds:")
    for program, values in times.items():
        values = values if keep_first else values[1:]
        medians[program] = statistics.median(values)
        print(f"  {program:<7} median {medians[program]:.2f}, from {min(values):.2f} to {max(values):.2f}")
    print(f"  ratio of medians, Quartet to PyTorch: {medians['Quartet'] / medians['PyTorch']:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    actions = parser.add_subparsers(required=True)
    for action in (parity, tiny, bench):
        sub = actions.add_parser(action.__name__)
        sub.set_defaults(action=action)
        sub.add_argument("--folder", required=True)
        if action is not tiny:
            sub.add_argument("--node", required=True)
            sub.add_argument("--song", required=True)
        if action is parity:
            sub.add_argument("--quick", action="store_true")
            sub.add_argument("--hybrid", action="store_true")
        if action is bench:
            sub.add_argument("--parity", required=True)
            sub.add_argument("--threads", type=int, default=2)
            sub.add_argument("--times", type=int, default=7)
            sub.add_argument("--songs", type=int, default=1)
            sub.add_argument("--model", choices=["htdemucs", "hdemucs_mmi"], default="htdemucs")
    options = parser.parse_args()
    options.action(options)


if __name__ == "__main__":
    main()
