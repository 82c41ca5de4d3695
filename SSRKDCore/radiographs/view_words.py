"""From the words of a DICOM View Position or View Code to the two views that the engine knows."""

from __future__ import annotations

FRONTAL_TERMS = ("ap", "pa")
FRONTAL_WORDS = (
    "antero posterior",
    "postero anterior",
    "anteroposterior",
    "posteroanterior",
    "anterior/posterior",
    "posterior/anterior",
    "frontal",
)
LATERAL_TERMS = ("ll", "rl", "lat", "ml", "lm")
LATERAL_WORDS = ("lateral", "latero medial", "lateromedial")
# How many knees, or which, and not from where they are seen.
OTHER_LATERAL_WORDS = ("bilateral", "unilateral", "contralateral", "ipsilateral")


def view_from_words(words: str | None) -> str | None:
    """ "ap" or "lateral" from a View Position term (AP, LL, ...) or a View Code meaning; None for all others."""
    if words is None:
        return None
    plain = _plain(words)
    if "oblique" in plain or "axial" in plain:
        return None
    if plain in FRONTAL_TERMS or any(word in plain for word in FRONTAL_WORDS):
        return "ap"
    return "lateral" if plain in LATERAL_TERMS or any(word in plain for word in LATERAL_WORDS) else None


def beam_is_posterior_to_anterior(words: str | None) -> bool:
    """True for PA views, False for AP and for everything that does not say."""
    plain = _plain(words or "").replace(" ", "")
    return plain == "pa" or plain.startswith(("posteroanterior", "posterior/anterior"))


def _plain(words: str) -> str:
    plain = words.lower().replace("_", " ").replace("-", " ")
    for word in OTHER_LATERAL_WORDS:
        plain = plain.replace(word, "")
    return plain.strip()
