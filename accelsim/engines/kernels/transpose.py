"""Eight words beside each other, as rows of a matrix of eight columns of bits or bytes: rows and columns exchanged."""

from __future__ import annotations

from accelsim.base.kernels import kernel


@kernel(forceinline=True)
def swapped(low, high, by, mask):  # type: ignore[no-untyped-def]
    """The bits `mask` of `high` change places with those of `low`, `by` above them."""
    moved = ((low >> by) ^ high) & mask
    return low ^ (moved << by), high ^ moved


@kernel(forceinline=True)
def transpose(r0, r1, r2, r3, r4, r5, r6, r7, steps, lines, count):  # type: ignore[no-untyped-def]
    """Column l of row p, of words i of r_0 to r_7, becomes column p of row l, in words i of `lines`.

    steps: uint64, the distance in bits and the lower ones of the bits that change places, for rows four, two and one
    apart. All of these are constants where this is called, so that it becomes vector code.
    """
    s4, m4, s2, m2, s1, m1 = steps
    for i in range(count):
        a, e = swapped(r0[i], r4[i], s4, m4)
        b, f = swapped(r1[i], r5[i], s4, m4)
        c, g = swapped(r2[i], r6[i], s4, m4)
        d, h = swapped(r3[i], r7[i], s4, m4)
        a, c = swapped(a, c, s2, m2)
        b, d = swapped(b, d, s2, m2)
        e, g = swapped(e, g, s2, m2)
        f, h = swapped(f, h, s2, m2)
        lines[0, i], lines[1, i] = swapped(a, b, s1, m1)
        lines[2, i], lines[3, i] = swapped(c, d, s1, m1)
        lines[4, i], lines[5, i] = swapped(e, f, s1, m1)
        lines[6, i], lines[7, i] = swapped(g, h, s1, m1)
