"""The exceptions of the package: each a subclass of the built-in one that users already catch.

They stand apart because every layer raises them, the textbook and the data loaders included, which import nothing
else of the package.
"""

__all__ = ["AnomalyError", "DataFormatError", "GraphError", "MissingExtraError", "NoRuleError", "ShapeError"]


class ShapeError(ValueError):
    """Shapes do not fit together; the message gives them in full."""


class NoRuleError(TypeError):
    """A function was called on a Tensor for which no derivative rule is entered."""


class GraphError(RuntimeError):
    """The recorded computation cannot be used this way: freed, not recorded, or not connected."""


class AnomalyError(FloatingPointError):
    """A NaN or an infinity was found where `detect_anomaly` looks for them; names the operation and the user's line."""


class DataFormatError(ValueError):
    """A file is not what its name or its header says."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what}; install it with: python -m pip install "tinygrad_fnn[{extra}]"')
