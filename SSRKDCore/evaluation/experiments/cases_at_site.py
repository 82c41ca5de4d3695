"""Given knees as another site shows them: `python -m SSRKDCore.evaluation.experiments.cases_at_site --cases DIR --site C --out DIR`.

For measures of what was never fitted to a site: the two-sites experiment keeps what it makes of its test knees to itself, and its sites'
own knees train remedies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from SSRKDCore.cases import CASE_FILE, find_cases, load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk
from SSRKDCore.evaluation.experiments.second_site import SITES, Site, site_maker
from SSRKDCore.evaluation.experiments.site_training import site_cases
from SSRKDCore.training.program import exit_code_of


def chosen_cases(folder: Path, skip: int, limit: int | None) -> list[Path]:
    """Case folders in their order, without the first `skip`, and no more than `limit` of them. Raises InputError where none is left."""
    found = find_cases(folder)
    chosen = found[skip:] if limit is None else found[skip : skip + limit]
    if not chosen:
        raise InputError(f"{folder} has {len(found)} cases, so none is left after the first {skip}: skip fewer.")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Write cases of given knees (CT or bones) with the radiographs of another site; those that are there are kept."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="folder of cases with a CT or bones")
    parser.add_argument("--site", choices=sorted(SITES), required=True, help="see docs/image_domain.md")
    parser.add_argument("--skip", type=_count, default=0, help="leave out so many of the first cases (0)")
    parser.add_argument("--limit", type=_count, help="no more than so many of the others (all)")
    parser.add_argument("--seed", type=_count, default=0, help="of the images' noise (0)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cases")
    return exit_code_of("cases_at_site", lambda: _run(parser.parse_args(arguments)))


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _check_kept(out: Path, knees: list[Path], site: Site) -> None:
    """Refuse a folder of cases with one of another site, or of another knee with the name of one that is given."""
    given = {knee.name: load_case(knee).id for knee in knees}
    for file in sorted(out.glob(f"[!.]*/{CASE_FILE}")):
        kept, name = load_case(file.parent), file.parent.name
        if kept.provenance.get("site") != site.name or kept.id != given.get(name, kept.id):
            raise InputError(
                f"{file.parent} is not that case at site {site.name}: choose another folder for the cases."
            )


def _run(parsed: argparse.Namespace) -> None:
    load_rtk()
    if parsed.out.exists() and not parsed.out.is_dir():
        raise InputError(f"{parsed.out} is a file: choose a folder for the cases.")
    site, knees = SITES[parsed.site], chosen_cases(parsed.cases, parsed.skip, parsed.limit)
    _check_kept(parsed.out, knees, site)
    make, made = site_maker(site), []
    with progress_bar(f"Exposing at site {site.name}") as progress:
        for index, knee in enumerate(knees):
            progress(index / len(knees), f"{knee.name} ({index + 1} of {len(knees)})")
            made += site_cases([knee], parsed.out, parsed.seed, make, site=site)
    say(f"{len(made)} cases of site {site.name} ({site.words}): {parsed.out}")


if __name__ == "__main__":
    sys.exit(main())
