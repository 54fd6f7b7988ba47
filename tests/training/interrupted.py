"""A training that may be killed and started again, as a program of its own: python interrupted.py RECIPE FOLDER.

It writes "training" once the first batch is done, and at the end the weights and the history.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.problems import EPOCHS, train

from tinygrad_fnn.serialize import save
from tinygrad_fnn.training import CSVLogger, JSONLogger, LambdaCallback


def main(recipe: str, folder: Path) -> None:
    started = LambdaCallback(on_batch_end=lambda run: print("training", flush=True) if run.batch == 1 else None)
    loggers = [CSVLogger(folder / "log.csv"), JSONLogger(folder / "log.jsonl")]
    model, history = train(recipe, EPOCHS, [started, *loggers], checkpoint=folder / "run.npz", resume=True)
    save({"state": model.state_dict(), "rows": history.rows, "interrupted": history.interrupted}, folder / "end.npz")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
