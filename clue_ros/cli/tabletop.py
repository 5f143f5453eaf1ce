"""clue-tabletop write --out data/train --count 10000 --seed 1 [--pairs] [--unseen [ASPECT ...]] [--varied]
    [--block-width LEAST MOST] [--elevation LEAST MOST];
clue-tabletop sheet --data data/train --out sheet.png"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from clue_ros.cli.common import execute, natural, new_file, positive
from clue_ros.tabletop.world import ASPECTS, World, unseen_world


def main() -> None:
    """Render data sets of the synthetic tabletop, and look at them."""
    execute(parser())


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(description="Render data sets of the synthetic tabletop, and look at them.")
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write", help="render scenes into a folder, with their truth")
    write.add_argument("--out", type=Path, required=True)
    write.add_argument("--count", type=positive, required=True, help="scenes, or pairs of scenes with --pairs")
    write.add_argument("--seed", type=natural, required=True)
    write.add_argument("--pairs", action="store_true", help="with counterfactual twins: the same view, one object fewer")
    write.add_argument("--unseen", nargs="*", choices=ASPECTS, metavar="ASPECT", help="the world that is kept from training, to "
                       f"evaluate on: in all aspects, or only in some of {', '.join(ASPECTS)}")
    write.add_argument("--varied", action="store_true", help="every object another member of its shape's family: bowls deep "
                       "and shallow, cans short and tall, ... (none like those of --unseen)")
    write.add_argument("--proportions", type=float, default=None, metavar="SHARE",
                       help="how much the width, height and taper of every mesh vary, 0 to 0.4 (default: as the world has it)")
    write.add_argument("--block-width", type=float, nargs=2, metavar=("LEAST", "MOST"),
                       help="width of a large block as a share of the picture's, from the farthest camera to the nearest "
                       "(default: 0.15 0.25)")
    write.add_argument("--elevation", type=float, nargs=2, metavar=("LEAST", "MOST"),
                       help="every camera looks from so many degrees above the table (default: from 35 to 80, a third of them "
                       "straight down)")
    write.add_argument("--workers", type=positive, default=2, help="rendering processes")
    write.set_defaults(call=_write)
    sheet = commands.add_parser("sheet", help="a contact sheet with boxes, expressions and questions")
    sheet.add_argument("--data", type=Path, required=True)
    sheet.add_argument("--out", type=new_file, required=True, help="PNG file")
    sheet.add_argument("--seed", type=natural, default=0)
    sheet.set_defaults(call=_sheet)
    return parser


def _write(a: argparse.Namespace) -> None:
    from clue_ros.tabletop import dataset
    from clue_ros.tabletop.scene import read_scenes
    world = World() if a.unseen is None else unseen_world(a.unseen or ASPECTS)
    asked = {"proportions": a.proportions, "varied": a.varied or None, "block_width": a.block_width and tuple(a.block_width),
             "elevation": a.elevation and tuple(a.elevation), "top_down": 0.0 if a.elevation else None}
    world = replace(world, **{name: value for name, value in asked.items() if value is not None})
    folder = dataset.write(a.out, a.count, a.seed, world=world, pairs=a.pairs, workers=a.workers)
    print(f"{len(read_scenes(folder))} scenes in {folder}")


def _sheet(a: argparse.Namespace) -> None:
    from clue_ros.data.sheet import contact_sheet
    print(f"contact sheet: {contact_sheet(a.data, a.out, a.seed)}")
