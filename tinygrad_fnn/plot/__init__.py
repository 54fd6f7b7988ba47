"""Pictures, with matplotlib, which is an extra: it is imported when the first one is drawn.

Each function draws one picture into one Axes, `ax`, and returns it. Without `ax` it makes a figure of its own, of which
pyplot knows nothing: ``.figure.savefig("name.png")`` writes it, and there is nothing to close. No window is shown and
no global setting is changed.
"""

from .classes import plot_calibration, plot_confusion_matrix, plot_decision_boundary
from .lines import plot_costs, plot_history, plot_learning_curve, plot_logistic, plot_validation_curve
from .pictures import plot_deltas, plot_digits, plot_hidden_units, plot_misread

__all__ = ["plot_calibration", "plot_confusion_matrix", "plot_costs", "plot_decision_boundary", "plot_deltas"]
__all__ += ["plot_digits", "plot_hidden_units", "plot_history", "plot_learning_curve", "plot_logistic", "plot_misread"]
__all__ += ["plot_validation_curve"]
