"""Hit rate and p99 over time, one picture an event: a column a set-up, a line a server. Measures nothing."""

from matplotlib.figure import Figure

COLORS = {"memring N=3": "#1b7837", "memring N=2": "#5aae61", "memring N=1": "#c2a5cf", "memcached": "#d6604d"}
SIZE_INCHES, DOTS_PER_INCH = (11, 6), 90
# Of the height, what the legend leaves.
ROOM = (0, 0, 1, 0.95)
# Draws a gap.
NOTHING = float("nan")


def draw(path, cells):
    """`cells` is {(set-up, server): cell}."""
    setups = list(dict.fromkeys(setup for setup, _ in cells))
    figure = Figure(figsize=SIZE_INCHES)
    axes = figure.subplots(2, len(setups), sharex="col", sharey="row", squeeze=False)
    for column, setup in enumerate(setups):
        above, below = axes[0][column], axes[1][column]
        above.set_title(setup)
        for (of, server), cell in cells.items():
            if of == setup:
                lines(above, below, server, cell)
        for plot in (above, below):
            plot.axvline(0, color="grey", linewidth=0.8)
            plot.grid(alpha=0.3)
        below.set_yscale("log")
        below.set_xlabel("seconds from the event's beginning")
    axes[0][0].set_ylabel("hits of gets answered, %")
    axes[1][0].set_ylabel("p99 of single operations, ms")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=len(COLORS))
    figure.tight_layout(rect=ROOM)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def lines(above, below, server, cell):
    at = [second["at"] for second in cell["seconds"]]
    for plot, name, factor in ((above, "hit_rate", 100), (below, "p99", 1000)):
        values = [NOTHING if second[name] is None else factor * second[name] for second in cell["seconds"]]
        plot.plot(at, values, label=server, color=COLORS[server])
