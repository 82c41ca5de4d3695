"""What the tissues of a synthetic knee are like: bone from young to osteoporotic, body habitus, wear, metal, and the scanner.

Hounsfield units and thicknesses are for a clinical CT at 120 to 140 kVp. Sources: cortical bone and its thickness from clinical CT,
G. M. Treece et al., Medical Image Analysis 14, 2010; muscle and fat windows of body composition CT, J. Aubrey et al., Acta Physiologica
210, 2014 (muscle -29..150 HU, fat -190..-30 HU); metals from the NIST coefficients (SRD 126) at 75 keV effective, which give titanium
about 10,000 and steel or cobalt chromium beyond what int16 holds. The middle of the ranges was set by the profiles and histograms of a
real CT (see ct_realism); how far single knees lie from it is a guess at a clinic's spread, made wide on purpose: a network that is
trained on it should not depend on any one scanner or patient.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError

METALS = ("none", "staples", "plate_and_screws", "partial_knee")


@dataclass(frozen=True)
class TissueParameters:
    """Tissues of one knee. Densities in HU, lengths in mm. The defaults are a middle-aged adult's.

    Attributes
    ----------
    age_years: what density, wear and calcification were drawn for; not used further.
    cortical_hu: compact bone, before the scanner's blur.
    cortical_thickness: times the usual thickness of the cortex (see bone_density).
    endosteal_width: standard deviation of the gradual change from cortex to marrow in the shaft.
    trabecular_hu: what trabeculae add to marrow in the middle of the epiphysis.
    marrow_hu: marrow of the epiphysis and shaft (yellow is fat).
    subchondral_hu: added under an articular surface, falling off with depth.
    texture: standard deviation of the trabecular pattern over its mean.
    muscle_hu, fat_hu, skin_hu, cartilage_hu, meniscus_hu, tendon_hu: soft tissues.
    fat_thickness: subcutaneous fat at the joint line; skin_thickness: what covers it.
    muscle_bulk: times the usual size of the muscles.
    intermuscular_gap: width of the fat between muscles; infiltration: share of fat in muscle.
    osteophytes: number of marginal osteophytes; osteophyte_height: of the largest.
    vessel_calcification: 0 none to 1 heavy.
    fabella: a sesamoid behind the lateral condyle (no bone of the four: not labelled).
    metal: one of METALS; metal_hu: before it is clipped to int16.
    noise_hu: standard deviation of the scanner's noise.
    resolution: standard deviation of the scanner's point spread.
    """

    age_years: float = 50.0
    cortical_hu: float = 1650.0
    cortical_thickness: float = 1.0
    endosteal_width: float = 1.0
    trabecular_hu: float = 310.0
    marrow_hu: float = -50.0
    subchondral_hu: float = 350.0
    texture: float = 0.2
    muscle_hu: float = 52.0
    fat_hu: float = -100.0
    skin_hu: float = 45.0
    cartilage_hu: float = 85.0
    meniscus_hu: float = 105.0
    tendon_hu: float = 95.0
    fat_thickness: float = 9.0
    skin_thickness: float = 2.0
    muscle_bulk: float = 1.0
    intermuscular_gap: float = 1.0
    infiltration: float = 0.08
    osteophytes: int = 0
    osteophyte_height: float = 0.0
    vessel_calcification: float = 0.0
    fabella: bool = False
    metal: str = "none"
    metal_hu: float = 0.0
    noise_hu: float = 9.0
    resolution: float = 0.65

    def __post_init__(self) -> None:
        if self.metal not in METALS:
            raise InputError(f"There is no metal '{self.metal}': use one of {', '.join(METALS)}.")
        positive = ("cortical_thickness", "resolution", "skin_thickness", "muscle_bulk", "endosteal_width")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"The tissue's {name} is {getattr(self, name):g}, and it must be above 0.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)


def random_tissue(generator: np.random.Generator, metal_share: float = 0.08) -> TissueParameters:
    """Random tissues of an adult of 20 to 90 years: the same generator state gives the same tissues.

    Bone is lost and wear gained with age, with a wide spread at any age. `metal_share`: probability of metal, each kind alike.

    Raises InputError for a share outside 0..1.
    """
    if not 0.0 <= metal_share <= 1.0:
        raise InputError(f"The share of knees with metal is {metal_share:g}, and it must lie between 0 and 1.")
    g = generator
    age = float(g.uniform(20.0, 90.0))
    ageing = (age - 20.0) / 70.0
    # 1 is dense young bone, 0.2 severe osteoporosis.
    density = float(np.clip(1.05 - 0.55 * ageing + g.normal(0.0, 0.16), 0.2, 1.2))
    wear = max(0.0, float(g.normal(0.9 * ageing - 0.25, 0.35)))
    osteophytes = int(g.poisson(7.0 * wear))
    obesity = float(np.exp(g.normal(0.0, 0.5)))
    metal = str(g.choice(METALS[1:])) if g.random() < metal_share else "none"
    metal_hu = {
        "none": 0.0,
        "staples": g.uniform(15000.0, 32000.0),
        "plate_and_screws": g.choice([10000.0, 28000.0]) * g.uniform(0.9, 1.1),
        "partial_knee": g.uniform(24000.0, 34000.0),
    }[metal]
    return TissueParameters(
        age_years=age,
        cortical_hu=1350.0 + 380.0 * density + float(g.normal(0.0, 60.0)),
        cortical_thickness=float(np.clip(0.55 + 0.5 * density + g.normal(0.0, 0.1), 0.45, 1.35)),
        endosteal_width=float(np.clip(1.5 - 0.7 * density + g.normal(0.0, 0.2), 0.4, 2.0)),
        trabecular_hu=float(np.clip(70.0 + 300.0 * density + g.normal(0.0, 40.0), 70.0, 520.0)),
        marrow_hu=float(g.uniform(-85.0, -5.0)),
        subchondral_hu=float(np.clip(150.0 + 220.0 * density + 250.0 * wear + g.normal(0.0, 60.0), 60.0, 850.0)),
        texture=float(g.uniform(0.08, 0.32)),
        muscle_hu=float(g.normal(58.0 - 10.0 * ageing, 5.0)),
        fat_hu=float(g.normal(-102.0, 6.0)),
        skin_hu=float(g.normal(45.0, 15.0)),
        cartilage_hu=float(g.normal(85.0, 10.0)),
        meniscus_hu=float(g.normal(105.0, 12.0)),
        tendon_hu=float(g.normal(95.0, 10.0)),
        fat_thickness=float(np.clip(8.5 * obesity, 2.0, 32.0)),
        skin_thickness=float(g.uniform(1.5, 2.6)),
        muscle_bulk=float(np.clip(1.08 - 0.18 * ageing + g.normal(0.0, 0.09), 0.75, 1.3)),
        intermuscular_gap=float(np.clip(0.5 + 1.2 * ageing + g.normal(0.0, 0.4), 0.3, 3.5)),
        infiltration=float(np.clip(0.02 + 0.14 * ageing + g.normal(0.0, 0.04), 0.0, 0.35)),
        osteophytes=min(osteophytes, 16),
        osteophyte_height=float(np.clip(1.0 + 4.0 * wear + g.normal(0.0, 0.5), 0.8, 6.0)) if osteophytes else 0.0,
        vessel_calcification=float(g.uniform(0.2, 1.0)) if g.random() < 0.5 * ageing else 0.0,
        fabella=bool(g.random() < 0.2),
        metal=metal,
        metal_hu=float(metal_hu),
        noise_hu=float(np.exp(g.uniform(np.log(4.0), np.log(28.0)))),
        resolution=float(g.uniform(0.45, 0.85)),
    )
