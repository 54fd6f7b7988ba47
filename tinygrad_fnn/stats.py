"""Log densities and distribution functions that programs use most, differentiable in every argument.

`scipy.stats` is Python code and cannot dispatch; the objects here have its names and signatures. They are made of
operations with rules, so that derivatives of every order follow. Results are Tensors; they are annotated as `Array`
because NumPy's stubs take what its functions return for an ndarray.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from .errors import ShapeError
from .rules import Array
from .tensor import Tensor

__all__ = ["multivariate_normal", "norm", "t"]

LOG_2PI: Final = math.log(2 * math.pi)


def _tensor(value: Array) -> Array:
    return value if isinstance(value, Tensor) else Tensor(value)


def _standardized(x: Array, loc: Array, scale: Array) -> tuple[Array, Array]:
    """``(x - loc) / scale``, and the scale with NaN where it is not positive, as SciPy has it."""
    scale = _tensor(scale)
    if not np.all(scale > 0):
        scale = np.where(scale > 0, scale, math.nan)
    return (_tensor(x) - loc) / scale, scale


class Normal:
    """The normal distribution, as `scipy.stats.norm`.

    In all methods `x`, `loc` and `scale` are array_like or Tensors that broadcast against each other; a `scale` that
    is not positive gives NaN.

    Examples
    --------
    >>> mu = Tensor(0.0, requires_grad=True)
    >>> norm.logpdf(2.0, mu).backward()
    >>> float(mu.grad)
    2.0
    """

    def logpdf(self, x: Array, loc: Array = 0, scale: Array = 1) -> Array:
        """Logarithm of the density."""
        z, scale = _standardized(x, loc, scale)
        return -0.5 * z * z - np.log(scale) - 0.5 * LOG_2PI

    def pdf(self, x: Array, loc: Array = 0, scale: Array = 1) -> Array:
        """Density."""
        z, scale = _standardized(x, loc, scale)
        return np.exp(-0.5 * z * z) / (scale * math.sqrt(2 * math.pi))

    def cdf(self, x: Array, loc: Array = 0, scale: Array = 1) -> Array:
        """Probability of a value up to `x`."""
        from scipy import special  # importing it costs more than the rest of the package

        return special.ndtr(_standardized(x, loc, scale)[0])

    def logcdf(self, x: Array, loc: Array = 0, scale: Array = 1) -> Array:
        """Logarithm of `cdf`; its derivative keeps its digits however far below `loc`."""
        from scipy import special  # importing it costs more than the rest of the package

        return special.log_ndtr(_standardized(x, loc, scale)[0])


class StudentT:
    """Student's distribution, as `scipy.stats.t`.

    Examples
    --------
    >>> df = Tensor(3.0, requires_grad=True)
    >>> t.logpdf(1.0, df).backward()
    >>> round(float(df.grad), 12)
    0.049306144334
    """

    def logpdf(self, x: Array, df: Array, loc: Array = 0, scale: Array = 1) -> Array:
        """Logarithm of the density.

        Parameters
        ----------
        x, loc, scale : array_like or Tensor
            Broadcasting against each other; a `scale` that is not positive gives NaN.
        df : array_like or Tensor
            Degrees of freedom, positive and finite; anything else gives NaN, but infinity the normal distribution.

        Returns
        -------
        Tensor
            ``-(df + 1) / 2 log(1 + z**2 / df) - log(df) / 2 - betaln(df / 2, 1 / 2) - log(scale)``, with
            ``z = (x - loc) / scale`` [1]_.

        References
        ----------
        .. [1] Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* 2 (1995), eq. 28.2.
        """
        from scipy import special  # importing it costs more than the rest of the package

        z, scale = _standardized(x, loc, scale)
        df = _tensor(df)
        infinite = np.isinf(df.detach().numpy()) & (df.detach().numpy() > 0)
        if infinite.any():
            finite = self.logpdf(z, np.where(infinite, 1.0, df)) - np.log(scale)
            return np.where(infinite, norm.logpdf(z) - np.log(scale), finite)
        if not np.all(df > 0):
            df = np.where(df > 0, df, math.nan)
        heavy = -0.5 * (df + 1) * np.log1p(z * z / df)
        return heavy - 0.5 * np.log(df) - special.betaln(0.5 * df, 0.5) - np.log(scale)


class MultivariateNormal:
    """The normal distribution of vectors, as `scipy.stats.multivariate_normal`.

    Examples
    --------
    >>> cov = Tensor([[2.0, 0.0], [0.0, 0.5]], requires_grad=True)
    >>> multivariate_normal.logpdf([1.0, 1.0], [0.0, 0.0], cov).backward()
    >>> np.diagonal(cov.grad)
    array([-0.125,  1.   ])
    """

    def logpdf(self, x: Array, mean: Array | None = None, cov: Array = 1, allow_singular: bool = False) -> Array:
        """Logarithm of the density.

        Parameters
        ----------
        x : array_like or Tensor, shape (..., d)
            Points; of one component each if `d` is 1, whether or not there is an axis for it.
        mean : array_like or Tensor, shape (d,), optional
            0 by default.
        cov : array_like or Tensor, shape (d, d), (d,) or ()
            Covariance: symmetric and positive definite; with a `mean`, a vector is its
            diagonal, and a number a multiple of the identity.
            Its gradient is that of `numpy.linalg.cholesky`.
        allow_singular : bool
            Only False: without an inverse there is no derivative in `cov`.

        Returns
        -------
        Tensor, shape (...)

        Raises
        ------
        ShapeError
            If the dimensions differ.
        numpy.linalg.LinAlgError
            If `cov` is not positive definite.

        References
        ----------
        Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.43.
        """
        if allow_singular:
            raise TypeError(
                "multivariate_normal.logpdf: allow_singular=True has no derivative in cov, and is not given"
            )
        x, cov = _tensor(x), _tensor(cov)
        mean = None if mean is None else _tensor(mean)
        d = self._dimension(mean, cov)
        center: Any = 0.0 if mean is None else mean.reshape(d)
        if cov.ndim < 2:
            cov = np.eye(d, dtype=cov.dtype) * cov
        if cov.shape != (d, d):
            raise ShapeError(
                f"multivariate_normal.logpdf: mean has {d} components, cov is {cov.shape}, wanted {(d, d)}"
            )
        if x.ndim == 0 or (d == 1 and x.ndim == 1):
            x = x[..., None]
        if x.shape[-1] != d:
            raise ShapeError(f"multivariate_normal.logpdf: x is {x.shape}; wanted {d} along its last axis")
        _require_symmetric(cov)
        L: Any = np.linalg.cholesky(cov)
        rows: Any = (x - center).reshape(-1, d)
        white: Any = np.linalg.solve(L, rows.T)
        out = -0.5 * np.sum(white * white, axis=0) - np.sum(np.log(np.diagonal(L))) - 0.5 * d * LOG_2PI
        return np.squeeze(out.reshape(x.shape[:-1]))  # as SciPy does

    @staticmethod
    def _dimension(mean: Array, cov: Array) -> int:
        """From the mean, else from a covariance matrix, as in SciPy."""
        if mean is not None:
            return int(mean.size)
        return int(cov.shape[0]) if cov.ndim == 2 else 1


def _require_symmetric(cov: Array) -> None:
    values = cov.detach().numpy()
    if not np.allclose(values, values.T, rtol=1e-5, atol=1e-8 * float(np.max(abs(values), initial=0))):
        gap = float(np.max(abs(values - values.T)))
        raise np.linalg.LinAlgError(f"multivariate_normal.logpdf: cov is not symmetric; entries differ by {gap:.3g}")


norm: Final = Normal()
t: Final = StudentT()
multivariate_normal: Final = MultivariateNormal()
