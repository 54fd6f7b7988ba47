"""The mistakes that `diagnose` knows: a table, to which a mistake is added as one entry.

An entry is a name, a sentence, two lines of code that make the mistake, and a short function from the right quantity
of its stage (`stages`) to the wrong one. Nothing else has to be told: the search, its messages, the tests and
``docs/mistakes.md`` walk the table. Where two entries give the same array, the earlier one is named; those whose
number is solved for come last.

``python -m tinygrad_fnn.check.mistakes`` prints the page.
"""

from typing import Any

from tinygrad_fnn.check.mistakes.deltas import DELTAS
from tinygrad_fnn.check.mistakes.penalties import PENALTIES, UNTRAINED
from tinygrad_fnn.check.mistakes.readings import READINGS
from tinygrad_fnn.check.mistakes.scales import SCALES
from tinygrad_fnn.check.mistakes.sums import SUMS
from tinygrad_fnn.check.stages import Mistake

__all__ = ["TABLE"]

TABLE: dict[str, Mistake[Any]] = {  # Any: an entry's ways have the type of its stage
    mistake.slug: mistake for mistake in (*DELTAS, *SUMS, *UNTRAINED, *PENALTIES, *READINGS, *SCALES)
}
