"""The curves of docs/performance.md: how cost and gradient grow with rows, depth and width, against the bare products.

python -m tinygrad_fnn bench --workload growth --json growth.json
python tests/bench/growth.py growth.json docs/growth.svg

One panel for each table of the workload. Up is slower: 1 is the matrix products alone. Needs matplotlib.
"""

import json
import sys
from pathlib import Path

from matplotlib import cycler, rcParams
from matplotlib.figure import Figure

from tinygrad_fnn.bench.competitor import BARE, COMPILED, LIMIT, OURS
from tinygrad_fnn.files import replacing

STYLES = {
    OURS: {"color": "tab:red", "linewidth": 2.5, "zorder": 3},
    COMPILED: {"color": "tab:red", "linewidth": 2.5, "linestyle": "--", "zorder": 3},
    LIMIT: {"color": "black", "linestyle": ":"},
}


def drawn(tables):
    figure = Figure(figsize=(4.2 * len(tables), 4.2), layout="constrained")
    for ax, table in zip(figure.subplots(1, len(tables), sharey=True, squeeze=False)[0], tables, strict=True):
        sizes = [int(column.split()[0].replace(",", "")) for column in table["columns"]]
        for row in table["rows"]:
            if row["name"] != BARE:
                name = "products, exp and log alone" if row["name"] == LIMIT else row["name"]
                ax.plot(sizes, row["to_bare"], marker=".", label=name, **STYLES.get(row["name"], {"alpha": 0.8}))
        ax.axhline(1, color="grey", linewidth=0.8)
        title, what = table["title"].removeprefix("cost and gradient, "), table["columns"][0].split()[1]
        ax.set(xscale="log", title=title, xlabel=what)
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
    figure.axes[0].set(ylabel="time / bare matrix products", ylim=(0.9, 6), yscale="log")
    figure.axes[0].set_yticks([1, 1.5, 2, 3, 4, 6], ["1", "1.5", "2", "3", "4", "6"])
    figure.axes[0].minorticks_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def main(report, picture):
    tables = [t for t in json.loads(Path(report).read_text(encoding="utf-8"))["tables"] if t["workload"] == "growth"]
    if not tables:
        raise SystemExit(f"{report} has no growth; make it by `python -m tinygrad_fnn bench --workload growth --json`")
    rcParams["svg.hashsalt"] = "growth"  # the same report makes the same file
    rcParams["axes.prop_cycle"] = cycler(
        color=[f"tab:{c}" for c in ("blue", "orange", "green", "purple", "brown", "cyan")]
    )
    with replacing(Path(picture), "wb") as file:
        drawn(tables).savefig(file, format=Path(picture).suffix.lstrip("."), metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
