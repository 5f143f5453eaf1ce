"""clue-benchmark --data data/test: the time of one decision, beside plain transformers."""

from __future__ import annotations

import argparse
from pathlib import Path

from clue_ros.cli.common import execute, positive


def main() -> None:
    """Measure the time of one decision."""
    execute(parser())


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(description="The time of one decision, beside plain transformers.")
    parser.add_argument("--data", type=Path, required=True, help="data set folder of clue-tabletop write")
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:0 ...")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--runs", type=positive, default=200)
    parser.add_argument("--threads", type=positive, default=2, help="of the CPU")
    parser.set_defaults(call=_benchmark)
    return parser


def _benchmark(a: argparse.Namespace) -> None:
    import torch

    from clue_ros.benchmark.latency import measure, table
    torch.set_num_threads(a.threads)
    print(table(measure(a.model, a.data, device=a.device, dtype=a.dtype, runs=a.runs)))
