"""The instruction sets the kernels are built for, and which of them this CPU runs.

Widest first. What the CPU can do is asked of the CPU itself (cpuid, through torch, which also asks
whether the operating system saves the wide registers) and not read from the names in /proc/cpuinfo.
Doesn't build anything (build.py does).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache

import torch

from inference import env

VARIABLE = "CHATSITE_ISA"

X86 = frozenset({"x86_64", "AMD64"})
ARM = frozenset({"aarch64", "arm64"})
AMX = frozenset({"amx_tile", "amx_bf16", "amx_int8"})
AMX_FLAGS = ("-mamx-tile", "-mamx-bf16", "-mamx-int8")


class IsaUnavailable(RuntimeError):
    """The set that was asked for doesn't run on this CPU; the text says what it lacks."""


@dataclass(frozen=True)
class InstructionSet:
    """One way to compile the kernels. `needs` are names of torch.cpu.get_capabilities()."""

    name: str
    machines: frozenset[str]  # empty: any
    needs: frozenset[str]
    flags: tuple[str, ...]

    def lacking(self) -> str:
        """What this machine lacks to run it; empty where it runs."""
        if self.machines and platform.machine() not in self.machines:
            return f"it is {platform.machine()}"
        return ", ".join(sorted(self.needs - cpu_features()))

    def has_amx(self) -> bool:
        """Whether matrix registers stand beside this set, where the CPU has them."""
        return self.name == "avx512" and cpu_features() >= AMX

    def compiler_flags(self) -> tuple[str, ...]:
        """The compiler's flags for this set; AVX-512's include AMX where the CPU has it."""
        return self.flags + AMX_FLAGS if self.has_amx() else self.flags


# Not tuned for this CPU: gcc 12 tunes for Zen 4 by moving pairs of registers through general ones,
# which makes INT8 on AVX2 five times slower.
AVX2 = frozenset({"avx2", "fma3", "f16c"})
AVX2_FLAGS = ("-mavx2", "-mfma", "-mf16c", "-mbmi2", "-mpopcnt", "-mlzcnt")
AVX512 = frozenset({"avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "avx512_bf16"})
AVX512_FLAGS = (
    *AVX2_FLAGS,
    *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd"),
    *("-mavx512bf16", "-mavx512vnni", "-mtune=native"),
)

SETS = (
    InstructionSet("avx512", X86, AVX2 | AVX512 | {"avx512_vnni"}, AVX512_FLAGS),
    InstructionSet("avx2-vnni", X86, AVX2 | {"avx_vnni"}, (*AVX2_FLAGS, "-mavxvnni")),
    InstructionSet("avx2", X86, AVX2, AVX2_FLAGS),
    InstructionSet(
        "neon-i8mm",
        ARM,
        frozenset({"neon", "dot", "fp16_arith", "i8mm"}),
        ("-march=armv8.2-a+dotprod+fp16+i8mm",),
    ),
    InstructionSet(
        "neon",
        ARM,
        frozenset({"neon", "dot", "fp16_arith"}),
        ("-march=armv8.2-a+dotprod+fp16",),
    ),
    InstructionSet("scalar", frozenset(), frozenset(), ("-DCHATSITE_SCALAR",)),
)
NAMES = tuple(each.name for each in SETS)


@cache
def cpu_features() -> frozenset[str]:
    """What this CPU and its operating system can do, by torch's names."""
    return frozenset(name for name, has in torch.cpu.get_capabilities().items() if has is True)


def runnable() -> list[InstructionSet]:
    """The sets that this CPU runs, widest first; the scalar one always."""
    return [each for each in SETS if not each.lacking()]


def find(name: str) -> InstructionSet:
    """The set of this name. Raises ValueError if there is none, IsaUnavailable if it can't run."""
    for each in SETS:
        if each.name == name:
            if lacking := each.lacking():
                raise IsaUnavailable(f"this CPU can't run {name} kernels ({lacking})")
            return each
    raise ValueError(f"{VARIABLE} is {name!r}, not one of {', '.join(NAMES)}")


def is_worthwhile() -> bool:
    """Whether to serve by the kernels: the scalar ones are slower than torch's own."""
    return bool(env.text(VARIABLE)) or runnable()[0].name != "scalar"


def chosen() -> InstructionSet:
    """The set that CHATSITE_ISA names, else the widest. Raises like `find`."""
    name = env.text(VARIABLE)
    return find(name) if name else runnable()[0]
