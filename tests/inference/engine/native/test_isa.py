"""Which instruction set is chosen, and that a forced one is taken at its word."""

from __future__ import annotations

import pytest

from inference.engine.native import isa


def named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(isa.VARIABLE, name)


def cpu(monkeypatch: pytest.MonkeyPatch, machine: str, *features: str) -> None:
    monkeypatch.setattr(isa, "cpu_features", lambda: frozenset(features))
    monkeypatch.setattr(isa.platform, "machine", lambda: machine)
    monkeypatch.delenv(isa.VARIABLE, raising=False)


AVX2 = ("avx2", "fma3", "f16c")


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [
        ("x86_64", (), "scalar"),
        ("x86_64", AVX2, "avx2"),
        ("x86_64", (*AVX2, "avx_vnni"), "avx2-vnni"),
        ("x86_64", (*isa.AVX2, *isa.AVX512), "avx2"),  # a Skylake: no VNNI
        ("x86_64", (*isa.AVX2, *isa.AVX512, "avx512_vnni"), "avx512"),
        ("aarch64", ("neon",), "scalar"),
        ("aarch64", ("neon", "dot", "fp16_arith"), "neon"),
        ("aarch64", ("neon", "dot", "fp16_arith", "i8mm"), "neon-i8mm"),
        ("riscv64", (), "scalar"),
    ],
)
def test_the_widest_set_that_the_cpu_runs_is_chosen(monkeypatch, machine, features, expected):
    cpu(monkeypatch, machine, *features)
    assert isa.chosen().name == expected


def test_a_forced_set_is_taken_although_a_wider_one_runs(monkeypatch):
    named(monkeypatch, "scalar")
    assert isa.chosen().name == "scalar"


def test_a_set_that_the_cpu_cannot_run_is_refused_with_what_it_lacks(monkeypatch):
    cpu(monkeypatch, "x86_64", *AVX2)
    named(monkeypatch, "avx512")
    with pytest.raises(isa.IsaUnavailable, match="avx512_bf16"):
        isa.chosen()
    named(monkeypatch, "neon")
    with pytest.raises(isa.IsaUnavailable, match="it is x86_64"):
        isa.chosen()


def test_an_unknown_set_is_an_error_that_names_the_known_ones(monkeypatch):
    named(monkeypatch, "sse")
    with pytest.raises(ValueError, match="not one of avx512, avx2-vnni, avx2, neon"):
        isa.chosen()


def test_amx_stands_beside_avx512_where_the_cpu_has_it(monkeypatch):
    features = (*isa.AVX2, *isa.AVX512, "avx512_vnni")
    cpu(monkeypatch, "x86_64", *features)
    assert "-mamx-tile" not in isa.chosen().compiler_flags()
    cpu(monkeypatch, "x86_64", *features, *isa.AMX)
    assert "-mamx-tile" in isa.chosen().compiler_flags()
