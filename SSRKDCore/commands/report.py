"""`ssrkd report`: every evaluation and experiment below a folder as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import say

HELP = "gather evaluations and experiments into one page that opens without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder below which results of evaluate, experiment, ... lie"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page to write")
    parser.add_argument("--title", default="Evaluation", help="heading of the page")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing page")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Writes the page; returns what is on it."""
    from SSRKDCore.evaluation.result_page import write_page

    page = write_page(args.folder, args.out, args.title, args.overwrite)
    for words in page.left_out:
        say(f"Left out: {words}")
    say(f"Written: {args.out} ({len(page.results)} results, {page.pictures} pictures)")
    return {
        "page": str(args.out),
        "results": list(page.results),
        "pictures": page.pictures,
        "left_out": list(page.left_out),
    }
