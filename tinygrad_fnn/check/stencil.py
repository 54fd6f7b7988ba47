"""Derivatives from values alone: a five-point stencil that chooses its step, bounds its error and sees a kink.

It stands apart from `numerical` because nothing in it knows what a gradient or a Tensor is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

__all__ = ["Estimate", "differentiate"]

LEVELS: Final = 6  # steps tried at most
RATIO: Final = 16.0  # from one step to the next
SAFETY: Final = 10.0  # on the difference of two estimates, which can be small by chance


class Estimate(NamedTuple):
    """Derivatives at 0 of n functions of one number.

    Attributes
    ----------
    value : ndarray, shape (n,)
        NaN where no step gave a number.
    error : ndarray, shape (n,)
        Bound on its error, from two step sizes and from rounding; infinite where there is none.
    kink : ndarray of bool, shape (n,)
        Whether the derivatives from the left and from the right differ however small the step.
    left, right : ndarray, shape (n,)
        Those two, at the smallest step that was tried; NaN where the function is.
    """

    value: ndarray
    error: ndarray
    kink: ndarray
    left: ndarray
    right: ndarray


def differentiate(
    phi: Callable[[float], ndarray], scale: float, nearest: float, eps: float, noise: Any = 0.0, enough: Any = 0.0
) -> Estimate:
    """Derivatives at 0 of the functions that `phi` gives the values of.

    Parameters
    ----------
    phi : callable
        Takes a number near 0, returns an array of shape (n,).
    scale : float > 0
        Change of the argument over which `phi` may change as a whole; the first step is a small part of it.
    nearest : float >= 0
        Distance within which `phi` is defined for sure; used where the first step has left its domain.
    eps : float
        Relative rounding error of the arithmetic.
    noise : float or ndarray, shape (n,)
        Known rounding error of `phi`, where it is more than `eps` times its value.
    enough : float or ndarray, shape (n,)
        Error at which no better step is looked for.

    Returns
    -------
    Estimate

    Notes
    -----
    The five-point formula ``(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h`` [1]_ has an error of order h^4, so the
    best first step is about the fifth root of `eps`. It is taken at h and at h/2; ten times the difference of the two
    bounds the error of the second.

    References
    ----------
    .. [1] Abramowitz & Stegun, *Handbook of Mathematical Functions* (1964), table 25.2.

    Examples
    --------
    >>> estimate = differentiate(lambda t: np.array([np.exp(t), abs(t)]), scale=1.0, nearest=1.0, eps=2e-16)
    >>> estimate.kink, bool(abs(estimate.value[0] - 1) <= estimate.error[0] < 1e-10)
    (array([False, True]), True)
    """
    center = phi(0.0)
    h = scale * eps**0.2
    best = now = _at(phi, center, h, eps, noise)
    grows: bool | None = None
    for _ in range(LEVELS - 1):
        smaller = _wants_a_smaller_step(now, enough)
        larger = not smaller and bool(((now.wobble > enough) & (now.value != 0)).any())
        if not (smaller or larger) or (grows is not None and grows != larger):
            break
        grows = larger
        outside = not np.isfinite(now.value).all() and h > nearest * eps**0.2 > 0
        h = nearest * eps**0.2 if outside else h * RATIO if larger else h / RATIO
        now = _at(phi, center, h, eps, noise)
        lost = now.flat & ~best.flat & (best.error < np.abs(best.value))
        better = (now.error < best.error) & ~lost
        best = _Level(*(np.where(better, new, old) for new, old in zip(now, best, strict=True)))
    found = np.isfinite(best.error)
    left, right = np.where(found, best.left, now.left), np.where(found, best.right, now.right)
    return Estimate(best.value, best.error, best.kink, left, right)


class _Level(NamedTuple):
    """What one step size gives: an `Estimate`, and where its error comes from."""

    value: ndarray
    error: ndarray
    kink: ndarray
    left: ndarray
    right: ndarray
    wobble: ndarray  # the part of the error that is rounding
    jump: ndarray
    flat: ndarray  # whether nothing changed at all; where a larger step has a slope to show, the change has no digits


def _at(phi: Callable[[float], ndarray], center: ndarray, h: float, eps: float, noise: Any) -> _Level:
    steps = (h, h / 2, h / 4)
    up = [phi(t) for t in steps]
    down = [phi(-t) for t in steps]
    with np.errstate(all="ignore"):
        size = np.abs([center, *up, *down]).max(axis=0)
        wobble = 12 * np.maximum(eps * size, noise) / h  # three roundings over the smallest step, which is h/4
        central = [(u - d) / (2 * t) for u, d, t in zip(up, down, steps, strict=True)]
        coarse, fine = ((4 * central[k + 1] - central[k]) / 3 for k in (0, 1))
        error = SAFETY * np.abs(fine - coarse) + wobble
        # One-sided, of second order: (4 f(t) - f(2t) - 3 f(0)) / 2t, at h/4 and at h/2.
        (right2, right), (left2, left) = (
            [s * (4 * f[k] - f[k - 1] - 3 * center) / (2 * steps[k]) for k in (1, 2)] for s, f in ((1, up), (-1, down))
        )
        jump, jump2 = np.abs(right - left), np.abs(right2 - left2)
        # At a kink the jump stays when the step is halved and each side has settled; where smooth it falls to 1/8.
        settled = 2 * (np.abs(right - right2) + np.abs(left - left2)) < jump
        kink = settled & (jump > SAFETY * wobble) & (2 * jump > jump2)
    error = np.where(np.isfinite(error) & ~kink, error, np.inf)
    flat = np.all([f == center for f in (*up, *down)], axis=0)
    # Nothing moved: a change below the digits of whatever it was added to, which the value, perhaps 0, does not tell.
    error = np.where(flat, np.maximum(error, 12 * eps * max(float(size.max(initial=0)), 1.0) / h), error)
    return _Level(fine, error, kink, left, right, wobble, jump, flat)


def _wants_a_smaller_step(now: _Level, enough: Any) -> bool:
    if not np.isfinite(now.value).all():
        return True
    # Two estimates that are off by rounding alone differ by up to twice the wobble, and that counts SAFETY times.
    truncated = ~now.kink & (now.error > 3 * SAFETY * now.wobble) & (now.error > enough)
    pursued = now.kink & (now.jump > SAFETY * SAFETY * RATIO * now.wobble)  # may be a kink nearby, not here
    return bool((truncated | pursued).any())
