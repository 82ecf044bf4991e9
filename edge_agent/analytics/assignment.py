"""The assignment problem: who goes with whom at the least total cost (Kuhn–Munkres with potentials, O(n²·m))."""

import math


def assign(cost: list[list[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) of the cheapest complete assignment of the smaller side; costs must be finite.

    Rows may be more or fewer than columns. Returned by rising row.
    """
    if not cost or not cost[0]:
        return []
    if len(cost) > len(cost[0]):
        turned = [list(column) for column in zip(*cost, strict=True)]
        return sorted((row, column) for column, row in assign(turned))
    rows, columns = len(cost), len(cost[0])
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of = [0] * (columns + 1)  # row matched to each column, 1-based; column 0 is the one being placed
    for row in range(1, rows + 1):
        row_of[0] = row
        came_from = _shortest_path(cost, row_potential, column_potential, row_of)
        column = came_from[-1]
        while column:
            before = came_from[column]
            row_of[column] = row_of[before]
            column = before
    return sorted((row_of[column] - 1, column - 1) for column in range(1, columns + 1) if row_of[column])


def _shortest_path(
    cost: list[list[float]], row_potential: list[float], column_potential: list[float], row_of: list[int]
) -> list[int]:
    """Grows the tree of tight edges from column 0 until a free column; the last item is that column."""
    columns = len(column_potential) - 1
    least = [math.inf] * (columns + 1)
    came_from = [0] * (columns + 1)
    used = [False] * (columns + 1)
    column = 0
    while True:
        used[column] = True
        row, delta, nearest = row_of[column], math.inf, 0
        for other in range(1, columns + 1):
            if used[other]:
                continue
            reduced = cost[row - 1][other - 1] - row_potential[row] - column_potential[other]
            if reduced < least[other]:
                least[other], came_from[other] = reduced, column
            if least[other] < delta:
                delta, nearest = least[other], other
        for other in range(columns + 1):
            if used[other]:
                row_potential[row_of[other]] += delta
                column_potential[other] -= delta
            else:
                least[other] -= delta
        column = nearest
        if row_of[column] == 0:
            return [*came_from, column]
