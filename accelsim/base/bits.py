"""Bits of a word gathered and spread: by the processor's own instructions where it has them and they are quick.

x86-64 has them since BMI2 (pext and pdep, Intel Architectures Software Developer's Manual, volume 2), other processors
have not. A kernel that uses them has a second body, with the same results, for where they are missing: see
`accelsim.base.kernels.Kernel.instead`.
"""

from __future__ import annotations

from accelsim.base.kernels import Instruction, target

pext = Instruction("llvm.x86.bmi.pext.64")
pdep = Instruction("llvm.x86.bmi.pdep.64")

_IN_MICROCODE = frozenset({"bdver4", "znver1", "znver2"})
"""LLVM's names of AMD's processors before Zen 3, where they take tens to hundreds of cycles (Agner Fog's tables)."""


def has_quick_bits() -> bool:
    """Whether code is compiled for a processor where pext and pdep are quick."""
    triple, processor, features = target()
    return triple.startswith("x86_64") and "bmi2" in features and processor not in _IN_MICROCODE
