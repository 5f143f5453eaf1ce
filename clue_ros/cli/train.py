"""clue-train base|further|average|naming|ivg|ambiguity|calibrate|assemble ...: a command for each recipe of `clue_ros.training.recipes`."""

from __future__ import annotations

import argparse
from pathlib import Path

from clue_ros.cli.common import add_labelled, execute, labelled_of, natural, positive
from clue_ros.types import RISK


def main() -> None:
    """Train the base, its dialog adapter and the ambiguity detector."""
    execute(parser())


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(description="Train the base, its dialog adapter and the ambiguity detector. "
                                                 "A run that was stopped goes on where it was.")
    commands = parser.add_subparsers(required=True)
    _recipe(commands, "base", "a small PaliGemma-2 from scratch, on the detection mixture", _base)
    further = _recipe(commands, "further", "go on with a base, on other or more data, with a deeper tower or larger pictures",
                      _further)
    further.add_argument("--base", type=Path, required=True, help="folder of the run of `base` or `further` to go on with, or a "
                         "base itself, such as that of a shipped model")
    average = commands.add_parser("average", help="the mean of trainings that began with the same base or adapter")
    average.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of finished runs")
    average.add_argument("--out", type=Path, required=True, help="folder of a run to go on with")
    average.set_defaults(call=_average)
    naming = _recipe(commands, "naming", "for an ablation: a base of another one's tower that is never taught where things are",
                     _naming)
    naming.add_argument("--base", type=Path, required=True, help="folder of the base whose tower is taken")
    _adapting(commands, "ivg", "LoRA dialog training: when to ask and what, what answers mean", _ivg)
    ambiguity = _adapting(commands, "ambiguity", "LoRA and the CNN detector, then its calibration", _ambiguity)
    ambiguity.add_argument("--adapter", type=Path, required=True, help="adapter/ of the ivg recipe")
    ambiguity.add_argument("--validation", type=Path, nargs="+", help="data sets with pairs to calibrate on")
    assemble = commands.add_parser("assemble", help="a model folder of its three parts")
    for name in ("base", "adapter", "detector", "out"):
        assemble.add_argument(f"--{name}", type=Path, required=True)
    assemble.set_defaults(call=_assemble)
    calibrate = commands.add_parser("calibrate", help="fit P(ambiguous) and the threshold of a model on prompts it was not "
                                                      "trained on")
    calibrate.add_argument("--model", required=True, help="model folder; its detector/ is changed")
    add_labelled(calibrate, "tabletop", several=True)
    calibrate.add_argument("--limit", type=positive, help="at most so many prompts of each data set")
    calibrate.add_argument("--seed", type=natural, default=0)
    calibrate.add_argument("--risk", type=float, default=RISK, help="share of prompts in which it may act wrongly; a node goes by "
                           "its own parameter `risk`")
    calibrate.add_argument("--zoom", type=float, help="of a second view, which is weighed with the whole picture: 1.1 is a tenth "
                           "nearer, 1 takes no second one (default: as it is)")
    calibrate.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0 ...")
    calibrate.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16: best what the robot will use")
    calibrate.set_defaults(call=_calibrate)
    return parser


def _recipe(commands, name: str, help_text: str, call, kind: type = Path) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text)
    parser.add_argument("--data", type=kind, nargs="+", required=True, help="data set folders of clue-tabletop write")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", default="tabletop", help="numbers of the recipe, by name, as in clue_ros/training/configs.py")
    parser.add_argument("--seed", type=natural, default=0)
    parser.set_defaults(call=call)
    return parser


def _adapting(commands, name: str, help_text: str, call) -> argparse.ArgumentParser:
    """A recipe that adapts a base, on the tabletop or on any data set that says what is right to answer."""
    from clue_ros.cli.common import add_reader
    parser = _recipe(commands, name, help_text, call, str)  # a Path would spoil a hub's name
    parser.add_argument("--base", required=True, help="folder or Hugging Face id of the base")
    add_reader(parser, "tabletop", downloads="let the base, and InViG, come from the Hugging Face hub")
    return parser


def _teaching(a: argparse.Namespace):
    """Folders of the tabletop, or the one data set of another reader."""
    from clue_ros.types import InputError
    downloads = a.allow_download and a.reader == "invig"  # else that is the base's alone
    every = [labelled_of(a, data, allow_download=downloads) for data in a.data]
    if a.reader == "tabletop":
        if a.part:
            raise InputError("of the tabletop whole folders are trained on: leave --part out")
        return list(map(Path, a.data))
    if len(every) > 1:
        raise InputError(f"--reader {a.reader} reads one data set, {len(every)} were given")
    return every[0]


def _config(arguments: argparse.Namespace, recipe: str):
    from clue_ros.training.configs import CONFIGS
    from clue_ros.types import InputError
    if recipe not in CONFIGS.get(arguments.config, ()):
        having = [name for name, recipes in CONFIGS.items() if recipe in recipes]
        raise InputError(f"config {arguments.config} has no {recipe} recipe: take --config {' or '.join(having)}")
    return CONFIGS[arguments.config][recipe]


def _base(a: argparse.Namespace) -> None:
    from clue_ros.training.recipes import train_base
    print(f"base: {train_base(_config(a, 'base'), a.data, a.out, seed=a.seed)}")


def _further(a: argparse.Namespace) -> None:
    from clue_ros.training.recipes import train_further
    print(f"base: {train_further(_config(a, 'further'), a.data, a.base, a.out, seed=a.seed)}")


def _average(a: argparse.Namespace) -> None:
    from clue_ros.training.average import average
    print(f"mean of {len(a.runs)} runs: {average(a.runs, a.out)}")


def _naming(a: argparse.Namespace) -> None:
    from clue_ros.training.recipes import train_naming
    print(f"base: {train_naming(_config(a, 'naming'), a.data, a.base, a.out, seed=a.seed)}")


def _ivg(a: argparse.Namespace) -> None:
    from clue_ros.training.adapters import train_ivg
    print(f"adapter: {train_ivg(_config(a, 'ivg'), _teaching(a), a.base, a.out, seed=a.seed, allow_download=a.allow_download)}")


def _ambiguity(a: argparse.Namespace) -> None:
    from clue_ros.training.adapters import assemble, train_ambiguity
    from clue_ros.types import InputError
    _check_validation(a)
    out = train_ambiguity(_config(a, "ambiguity"), _teaching(a), a.base, a.adapter, a.out, seed=a.seed,
                          allow_download=a.allow_download)
    print(f"adapter and detector: {out}")
    if not Path(a.base).is_dir():
        print(f"the base {a.base} is not copied: name it in a model folder, as docs/paligemma2-gpu.md shows"
              + (f", then calibrate that on {' '.join(map(str, a.validation))}" if a.validation else ""))
        return
    print(f"model: {assemble(Path(a.base), out / 'adapter', out / 'detector', out / 'model')}")
    if a.validation:
        from clue_ros.evaluation.calibrate import calibrate
        from clue_ros.data.readers import Labelled
        try:
            print(calibrate(out / "model", [Labelled(data) for data in a.validation], a.seed))
        except InputError as error:
            if a.config != "debug":
                raise
            print(f"after so few steps it cannot be calibrated: {error}")


def _check_validation(a: argparse.Namespace) -> None:
    """InputError for pairs that there are none of, which would be found out only when the training is over, or that are trained on."""
    from clue_ros.data.scenes import SceneImages
    from clue_ros.evaluation.suites import pairs_of
    from clue_ros.provenance import check_apart, hash_files
    from clue_ros.types import InputError
    if not a.validation:
        return
    if a.reader != "tabletop":
        raise InputError("--validation takes pairs of the tabletop: leave it out, then `clue-train calibrate "
                         f"--model {a.out / 'model'} --reader {a.reader}` on data of your own")
    taught = tuple(line for data in a.data for line in hash_files(Path(data), ""))
    for folder in a.validation:
        pairs_of(SceneImages(folder), a.seed)
        check_apart({f"--validation {folder}": hash_files(folder, ""), "the data to train on": taught})


def _assemble(a: argparse.Namespace) -> None:
    from clue_ros.training.adapters import assemble
    print(f"model: {assemble(a.base, a.adapter, a.detector, a.out)}")


def _calibrate(a: argparse.Namespace) -> None:
    from clue_ros.evaluation.calibrate import calibrate
    print(calibrate(a.model, [labelled_of(a, data) for data in a.data], a.seed, a.risk, a.limit, a.zoom, a.device,
                    a.dtype))
