"""How much a dtype changes a model: its next-token distributions against float32 over a fixed text.

Mean Kullback-Leibler divergence in nats, and how often the likeliest token is the same. Kept as
fidelity.json beside the weights. For weights that were quantised before, "float32" means as
dequantised; origin.json says so. Gets logits from its caller and knows no engine.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.models.describe import revision
from inference.text.model import read_json

TEXT = """\
The harbour of Itajaí wakes before the sun. At half past four the first boats come in over the \
bar, low in the water, and the men on the quay already know from the sound of an engine whose \
boat it is. Ice slides down a chute. Somebody counts crates aloud: forty-one, forty-two, \
forty-three. By seven the auction is over and the street smells of coffee.

Why does bread rise? Yeast eats sugar and gives off carbon dioxide; the dough's gluten, a net of \
proteins that kneading has stretched, holds the gas in small bubbles. In the oven the bubbles \
grow, the yeast dies at about 60 °C, and the starch sets around the holes. So three things \
matter: time, warmth and patience.

def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2

1. Ask what the figure is for before you compute it.
2. Write down the unit: 12 ms is not 12 s.
3. If two people get different answers, one of them has learnt something.
"""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over `tokens` positions. `agreement` is a share from 0 to 1."""

    mean_kl: float
    agreement: float
    tokens: int


def compare(reference: Tensor, candidate: Tensor) -> Fidelity:
    """Compare two sets of logits (T, V) for the same tokens. Raises ValueError for other shapes."""
    if reference.shape != candidate.shape or reference.ndim != 2:
        raise ValueError(f"logits of {tuple(reference.shape)} and {tuple(candidate.shape)}")
    p = torch.log_softmax(reference.double(), dim=-1)
    q = torch.log_softmax(candidate.double(), dim=-1)
    kl = (p.exp() * (p - q)).sum(dim=-1)
    same = p.argmax(dim=-1) == q.argmax(dim=-1)
    return Fidelity(float(kl.mean()), float(same.double().mean()), len(kl))


def keep(folder: Path, dtype: str, found: Fidelity) -> None:
    """Write the figures for one dtype beside the weights; those of other weights are dropped."""
    path = folder / "fidelity.json"
    kept = read_json(path)
    current = revision(folder)
    if kept.get("revision") != current:
        kept = {"revision": current, "dtypes": {}}
    kept["dtypes"][dtype] = asdict(found)
    beside = path.with_name(f".fidelity-{os.getpid()}.json")
    beside.write_text(json.dumps(kept, indent=2) + "\n")
    beside.replace(path)


def kept_mean_kl(folder: Path, dtype: str) -> float | None:
    """The mean KL that was kept for this dtype and these weights; None if there is none."""
    kept = read_json(folder / "fidelity.json")
    if kept.get("revision") != revision(folder):
        return None
    found = kept.get("dtypes", {}).get(dtype)
    return None if found is None else float(found["mean_kl"])
