"""Three arms of a spiral, told apart by a small network of our own layers.

No straight line separates the arms, so a network without a nonlinearity cannot do it. Two hidden
layers of 32 with ReLU can, in a second.

Run it:  python examples/02_spiral_classifier.py            a map in the terminal
         python examples/02_spiral_classifier.py --plot map.png
"""

import argparse

import numpy as np

import scratchgrad as sg
from scratchgrad import nn
from scratchgrad.nn import functional as F

ARMS = 3


def spiral(points, seed):
    """Points on three noisy arms: x (N, 2), and the arm of each, (N,)."""
    rng = np.random.default_rng(seed)
    arm = np.repeat(np.arange(ARMS), points)  # (N,)
    radius = np.tile(np.linspace(0.05, 1, points), ARMS)
    angle = 2 * np.pi * arm / ARMS + 4 * radius + rng.normal(0, 0.25, arm.size)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (N, 2)
    return x.astype(np.float32), arm


class Classifier(nn.Module):
    """(N, 2) -> (N, 3): a score for each arm."""

    def __init__(self, hidden, rng):
        super().__init__()
        self.first = nn.Linear(2, hidden, rng=rng)
        self.second = nn.Linear(hidden, hidden, rng=rng)
        self.last = nn.Linear(hidden, ARMS, rng=rng)

    def forward(self, x):
        x = F.relu(self.first(x))  # (N, hidden)
        x = F.relu(self.second(x))  # (N, hidden)
        return self.last(x)  # (N, 3)


@sg.no_grad()
def accuracy(model, x, arm):
    """The share of points whose highest score is that of their own arm."""
    return float((model(x).argmax(axis=1) == arm).mean())


@sg.no_grad()
def decisions(model, width, height):
    """The arm that the model sees at each place of a grid over the square: (height, width)."""
    across, down = np.meshgrid(np.linspace(-1.1, 1.1, width), np.linspace(1.1, -1.1, height))
    grid = np.stack([across, down], axis=-1).astype(np.float32)  # (height, width, 2)
    return model(grid).argmax(axis=-1)


def terminal_map(model, x, arm, width=72, height=34):
    """Small marks where the model decides, capitals where a point of that arm really lies."""
    rows = np.array(list(".:-"))[decisions(model, width, height)]
    columns = np.round((x[:, 0] + 1.1) / 2.2 * (width - 1)).astype(int)
    lines = np.round((1.1 - x[:, 1]) / 2.2 * (height - 1)).astype(int)
    rows[lines, columns] = np.array(list("ABC"))[arm]
    return "\n".join("  " + "".join(row) for row in rows)


def plot(model, x, arm, path):
    """The same map as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colours = ["#3b82f6", "#ea580c", "#16a34a"]
    square = (-1.1, 1.1, -1.1, 1.1)
    axes.contourf(
        decisions(model, 400, 400)[::-1],
        levels=[-0.5, 0.5, 1.5, 2.5],
        colors=colours,
        alpha=0.2,
        extent=square,
    )
    for a, colour in enumerate(colours):
        axes.scatter(*x[arm == a].T, s=14, color=colour, edgecolor="white", linewidth=0.4)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.savefig(path)


def main():
    """Train, measure on points it never saw, draw."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--steps", type=int, default=400, help="optimiser updates (400)")
    options.add_argument("--plot", metavar="PNG", help="write the map as a picture too")
    options = options.parse_args()

    x, arm = spiral(100, seed=0)
    new_x, new_arm = spiral(100, seed=1)
    model = Classifier(hidden=32, rng=np.random.default_rng(0))
    optimizer = sg.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    print(f"{len(x)} points, {model.num_parameters()} parameters")
    for step in range(options.steps + 1):
        loss = F.cross_entropy(model(x), arm)
        if step % 100 == 0:
            print(f"  step {step:4}   loss {loss.item():.3f}   right {accuracy(model, x, arm):.1%}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    print(terminal_map(model, x, arm))
    print("  . : -  what the model decides      A B C  the points of each arm")
    if options.plot:
        plot(model, x, arm, options.plot)
        print(f"  wrote {options.plot}")
    print(f"accuracy on the training points: {accuracy(model, x, arm):.3f}")
    print(f"accuracy on new points: {accuracy(model, new_x, new_arm):.3f}")


if __name__ == "__main__":
    main()
