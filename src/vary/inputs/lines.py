"""Text lines of a deskewed page, by geometry alone: components, segments, lines.

Letters that follow each other closely make a *segment*; segments of the same row make a line unless a column
gutter runs between them.  Nothing here knows letters, so Latin and Chinese take the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.inputs.gutters import LABEL_GAP, Rows, counted, is_gutter
from vary.inputs.ink import Components, Gray

__all__ = [
    "MOST_SEGMENTS",
    "Group",
    "Pieces",
    "find_groups",
    "quantile",
    "remove_rules",
    "segments",
    "split_joined",
    "text_components",
    "text_pieces",
]

Boxes = NDArray[np.float32]
LEFT, TOP, RIGHT, BOTTOM = range(4)

REACH = 0.55
"""A component reaches this share of its height to either side for the next one of its segment."""
CORE = 0.25
"""Components are linked through the middle of their height: this share is cut off above and below."""
SURE_GAP = 1.1
"""Gaps up to this many letter heights never are a gutter."""
AT_ONCE = 2**22
"""Pixels of rectangles that are painted together, more or less: a page of text has fewer, hatching may have
many more than memory."""
MOST_SEGMENTS = 2500
"""Of more only those of the most components are looked at, as a gutter beside each may run along all others:
a page of text, the dots of its letters included, has some hundreds, a newspaper 1,800, a screen thousands."""
AROUND = 0.4
"""Letter heights above and below a line in which dots and accents belong to it."""
ROUNDS = 4
"""Joining and adopting is repeated at most this often, each time with the extents of the last."""


class Pieces(NamedTuple):
    """The components of a page that may be text: their numbers, boxes and segments, and which of them tower
    over their segment."""

    ids: NDArray[np.intp]
    boxes: Boxes
    segment: NDArray[np.intp]
    tall: NDArray[np.bool_]

    @property
    def surplus(self) -> int:
        """How many segments there are more than are looked at."""
        return max(0, int(self.segment.max(initial=-1)) + 1 - MOST_SEGMENTS)


class Group(NamedTuple):
    """The components of one line: `members` index the page's components, `core` marks the letters among
    them."""

    members: NDArray[np.intp]
    box: tuple[float, float, float, float]
    size: float
    """Height of the taller letters, pixels."""


def text_components(found: Components) -> NDArray[np.bool_]:
    """Which components may be (parts of) characters: not specks, rules, frames, blots or the scanner's
    shadow."""
    page_height, page_width = found.labels.shape
    width, height = found.width, found.height
    limit = max(0.14 * max(page_height, page_width), min(page_height, 260))
    usable = (np.maximum(width, height) >= 2) & (found.area >= 3) & (height <= limit)
    thin = np.minimum(width, height) < 0.06 * np.maximum(width, height)
    usable &= ~(thin & (np.maximum(width, height) > 40))
    size = typical_height(height[usable], width[usable])
    usable &= ~((width > 8 * size) & (height < 0.35 * size))
    usable &= ~((height > 4 * size) & (width < 0.35 * size))
    usable &= ~((height > 3 * size) & (width > 1.5 * size) & (found.area < 0.2 * width * height))
    edge = (found.boxes[:, LEFT] <= 1) | (found.boxes[:, RIGHT] >= page_width - 1)
    usable &= ~(edge & (height > 3 * size))
    edge |= (found.boxes[:, TOP] <= 1) | (found.boxes[:, BOTTOM] >= page_height - 1)
    usable &= ~(edge & (found.area > 0.5 * width * height) & (np.maximum(width, height) > 3 * size))
    return np.asarray(usable)


def typical_height(height: NDArray[Any], width: NDArray[Any]) -> float:
    """Height of common letters: the median over components that are no specks, at least 4 px."""
    letters = height[(height >= 4) & (width >= 2)]
    return max(4.0, float(np.median(letters))) if len(letters) else 4.0


def remove_rules(strength: Gray, found: Components) -> bool:
    """Erases long straight strokes of frames and tables from `strength` in place, so that text on them is
    free."""
    width, height = found.width, found.height
    size = typical_height(height, width)
    long = np.maximum(width, height)
    framed = (long > max(6 * size, 40)) & (np.minimum(width, height) < 0.06 * long)
    framed |= (long > max(6 * size, 40)) & (found.area < 0.35 * width * height) & (height > 2.5 * size)
    changed = False
    underlined = ~framed & (width > max(10 * size, 80)) & (height < 4 * size)
    for index in np.flatnonzero(framed | underlined):
        left, top, right, bottom = found.boxes[index]
        inside = (found.labels[top:bottom, left:right] == index + 1).astype(np.uint8)
        reach = round(max(4 * size, 30) if framed[index] else max(10 * size, 80))
        strokes = np.zeros_like(inside)
        for kernel in ((reach, 1), (1, reach)):
            run = cv2.morphologyEx(inside, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, kernel))
            across = (1, max(3, round(0.6 * size)))[:: 1 if kernel[1] == 1 else -1]
            thick = cv2.morphologyEx(run, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, across))
            strokes |= run & ~thick
        if not strokes.any():
            continue
        strokes = cv2.dilate(strokes, np.ones((3, 3), np.uint8))
        strength[top:bottom, left:right][strokes > 0] = 0
        changed = True
    return changed


def text_pieces(found: Components, usable: NDArray[np.bool_]) -> Pieces:
    """The usable components with their segments."""
    ids = np.flatnonzero(usable)
    boxes = found.boxes[ids].astype(np.float32)
    if not len(ids):
        return Pieces(ids, boxes, ids, usable[ids])
    segment = segments(boxes, found.labels.shape)
    return Pieces(ids, boxes, segment, _too_tall(boxes[:, BOTTOM] - boxes[:, TOP], boxes, segment))


def split_joined(strength: Gray, found: Components, pieces: Pieces) -> bool:
    """Cuts letters that touch those of the next line, in place, at the row of least ink; True if there were
    some."""
    cut = False
    for index in pieces.ids[pieces.tall]:
        left, top, right, bottom = found.boxes[index]
        margin = min(round(0.3 * (bottom - top)), (bottom - top - 1) // 2)
        ink = (found.labels[top:bottom, left:right] == index + 1).sum(axis=1)
        row = margin + int(ink[margin : len(ink) - margin].argmin())
        if ink[row] <= 0.5 * ink.max():
            strength[top + row, left:right] = 0
            cut = True
    return cut


def find_groups(pieces: Pieces, shape: tuple[int, int]) -> list[Group]:
    """The lines of a page of `shape` (height, width), in no particular order."""
    ids, boxes, segment, tall = _largest_segments(pieces)
    if not len(ids):
        return []
    heights = boxes[:, BOTTOM] - boxes[:, TOP]
    if tall.any():
        segment = segments(boxes, shape, without=tall)
    line = _adopt(boxes, heights, segment)
    line = _adopt(boxes, heights, _join_rows(boxes, heights, line), drop=True)
    kept = np.flatnonzero(line >= 0)
    if not len(kept):  # specks that belong to no line
        return []
    order = kept[np.argsort(line[kept], kind="stable")]
    ids, boxes, heights, line = ids[order], boxes[order], heights[order], line[order]
    weights = np.minimum(boxes[:, RIGHT] - boxes[:, LEFT], 2 * heights)
    starts = np.flatnonzero(np.diff(line, prepend=-1))
    extents = _extents(
        boxes, np.repeat(np.arange(len(starts)), np.diff(starts, append=len(line))), len(starts)
    )
    return [
        Group(
            ids[start:stop],
            (extent[LEFT], extent[TOP], extent[RIGHT], extent[BOTTOM]),
            _weighted_percentile(heights[start:stop], weights[start:stop], 0.8),
        )
        for start, stop, extent in zip(
            starts.tolist(), [*starts[1:].tolist(), len(line)], extents.tolist(), strict=True
        )
    ]


def _largest_segments(pieces: Pieces) -> Pieces:
    """The pieces of the segments of the most components, where there are too many."""
    members = np.bincount(pieces.segment) if len(pieces.ids) else np.zeros(0, np.intp)
    if len(members) <= MOST_SEGMENTS:
        return pieces
    number = np.full(len(members), -1, np.intp)
    number[np.argsort(-members, kind="stable")[:MOST_SEGMENTS]] = np.arange(MOST_SEGMENTS)
    kept = number[pieces.segment] >= 0
    return Pieces(pieces.ids[kept], pieces.boxes[kept], number[pieces.segment[kept]], pieces.tall[kept])


def segments(
    boxes: Boxes, shape: tuple[int, int], without: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """(N,) segment numbers: each component is painted as its stretched core, what touches belongs
    together."""
    height = boxes[:, BOTTOM] - boxes[:, TOP]
    width = boxes[:, RIGHT] - boxes[:, LEFT]
    scale = 1.0 / float(np.clip(round(typical_height(height, width) / 7), 1, 4))
    size = (int(shape[0] * scale) + 2, int(shape[1] * scale) + 2)
    cut = np.where(height >= 4, CORE * height, 0)
    rectangles = np.stack(
        (
            boxes[:, LEFT] - REACH * height,
            boxes[:, TOP] + cut,
            boxes[:, RIGHT] + REACH * height,
            boxes[:, BOTTOM] - cut,
        ),
        axis=1,
    )
    rectangles = np.maximum(np.floor(rectangles * scale), 0).astype(np.int32)
    rectangles[:, BOTTOM] = np.maximum(rectangles[:, BOTTOM], rectangles[:, TOP] + 1)
    skip = np.zeros(len(boxes), bool) if without is None else without
    painted = _painted(rectangles[~skip], size)
    _, labels = cv2.connectedComponents(painted, connectivity=4, ltype=cv2.CV_32S)
    column = ((boxes[:, LEFT] + boxes[:, RIGHT]) * (0.5 * scale)).astype(np.intp)
    row = np.minimum((rectangles[:, TOP] + rectangles[:, BOTTOM]) // 2, painted.shape[0] - 1)
    segment = labels[row, column].astype(np.intp) - 1
    alone = np.flatnonzero(skip | (segment < 0))
    segment[alone] = labels.max() + np.arange(len(alone))
    return np.unique(segment, return_inverse=True)[1].reshape(-1)


def _painted(rectangles: NDArray[np.int32], size: tuple[int, int]) -> Gray:
    """An image of `size` (height, width) with 1 where a rectangle is, (N, 4), else 0."""
    painted = np.zeros(size[0] * size[1], np.uint8)
    inside = np.minimum(rectangles, (size[1], size[0], size[1], size[0])).astype(np.intp)
    area = (inside[:, RIGHT] - inside[:, LEFT]) * (inside[:, BOTTOM] - inside[:, TOP])
    for part in np.split(inside, np.flatnonzero(np.diff(np.cumsum(area) // AT_ONCE)) + 1):
        left, top, right, bottom = part.T
        # First where the rows of the rectangles begin, then the pixels of the rows.
        begin = counted(top, bottom - top) * size[1] + np.repeat(left, bottom - top)
        painted[counted(begin, np.repeat(right - left, bottom - top))] = 1
    return painted.reshape(size)


def _too_tall(heights: NDArray[np.float32], boxes: Boxes, segment: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Components that tower over their segment: joined letters of two lines, brackets, initials."""
    count = int(segment.max()) + 1
    size = _upper_height(heights, boxes, segment, count, share=0.6)
    members = np.bincount(segment, minlength=count)
    extent = _extents(boxes, segment, count)
    swollen = (extent[:, BOTTOM] - extent[:, TOP]) > 2.2 * size
    return (heights > 1.9 * size[segment]) & (members[segment] >= 5) & swollen[segment]


def quantile(values: NDArray[Any], share: float) -> float:
    """The value below which `share` of the values lie; one of them, found without numpy's overhead."""
    place = min(len(values) - 1, int(share * len(values)))
    return float(np.partition(values, place)[place])


def _extents(boxes: Boxes, segment: NDArray[np.intp], count: int) -> Boxes:
    extent = np.empty((count, 4), np.float32)
    extent[:, :2] = np.inf
    extent[:, 2:] = -np.inf
    np.minimum.at(extent[:, LEFT], segment, boxes[:, LEFT])
    np.minimum.at(extent[:, TOP], segment, boxes[:, TOP])
    np.maximum.at(extent[:, RIGHT], segment, boxes[:, RIGHT])
    np.maximum.at(extent[:, BOTTOM], segment, boxes[:, BOTTOM])
    return extent


def _upper_height(
    heights: NDArray[np.float32], boxes: Boxes, segment: NDArray[np.intp], count: int, share: float = 0.8
) -> NDArray[np.float32]:
    """(count,) per segment the height that `share` of its ink width stays under."""
    weight = np.minimum(boxes[:, RIGHT] - boxes[:, LEFT], 2 * heights)
    order = np.lexsort((heights, segment))
    total = np.cumsum(weight[order], dtype=np.float64)
    bounds = np.searchsorted(segment[order], np.arange(count + 1))
    start = np.concatenate(([0.0], total))[bounds]
    goal = start[:-1] + share * (start[1:] - start[:-1])
    at = np.clip(np.searchsorted(total, goal), bounds[:-1], bounds[1:] - 1)
    return np.asarray(heights[order][at], dtype=np.float32)


def _weighted_percentile(values: NDArray[np.float32], weights: NDArray[np.float32], share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][min(len(values) - 1, int(np.searchsorted(total, share * total[-1])))])


def _is_body(extent: Boxes, size: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Segments that can carry a line, as opposed to dots, accents, dashes and dust beside or between
    lines."""
    width = extent[:, RIGHT] - extent[:, LEFT]
    typical = float(np.median(np.repeat(size, np.maximum(1, (width / np.maximum(size, 1)).astype(int)))))
    return (size >= 4) & (size >= 0.45 * typical) & (width >= 0.12 * size)


def _join_rows(boxes: Boxes, heights: NDArray[np.float32], label: NDArray[np.intp]) -> NDArray[np.intp]:
    """Joins the segments of a row, (N,) -> (N,) labels of the components, in rounds until nothing changes.

    First over sure gaps only, so that the search for gutters sees phrases, not words.
    """
    changed = True
    for sure in (True, False):
        for _ in range(ROUNDS):
            if changed:
                count = int(label.max()) + 1
                extent, size = _extents(boxes, label, count), _upper_height(heights, boxes, label, count)
                foot = _upper_height(boxes[:, BOTTOM], boxes, label, count, share=0.5)
                ids = np.flatnonzero(_is_body(extent, size))
                rows, names = Rows.of(extent[ids]), ids.tolist()
                pairs = _neighbours(rows.extent, size[ids], foot[ids])
            leader = list(range(count))
            for here, there, gap, reach in pairs:
                if gap <= SURE_GAP * reach or not (sure or is_gutter(rows, here, there, gap, reach)):
                    leader[_leader(leader, names[there])] = _leader(leader, names[here])
            joined = np.array([_leader(leader, number) for number in range(count)])
            changed = bool((joined != np.arange(count)).any())
            if not changed:
                break
            label = np.unique(joined[label], return_inverse=True)[1].reshape(-1)
    return label


def _leader(leader: list[int], number: int) -> int:
    """The number that stands for all that `number` was joined with."""
    while leader[number] != number:
        leader[number] = leader[leader[number]]  # long chains are shortened on the way
        number = leader[number]
    return number


def _neighbours(
    extent: Boxes, size: NDArray[np.float32], foot: NDArray[np.float32]
) -> list[tuple[int, int, float, float]]:
    """(left, right, gap, letter height) of segments that follow each other in a row, in reach of a merge."""
    top, bottom = extent[:, TOP], extent[:, BOTTOM]
    order = np.argsort(top, kind="stable")
    # Those that begin below a segment's top and above its bottom share rows with it; nobody else is compared.
    after = np.arange(1, len(extent) + 1)
    count = np.maximum(np.searchsorted(top[order], bottom[order]) - after, 0)
    first, second = order[np.repeat(after - 1, count)], order[counted(after, count)]
    middle = extent[:, LEFT] + extent[:, RIGHT]
    turned = middle[first] > middle[second]
    here, there = np.where(turned, second, first), np.where(turned, first, second)
    height = bottom - top
    reach = np.maximum(size[here], size[there])
    shared = (np.minimum(bottom[here], bottom[there]) - np.maximum(top[here], top[there])) / np.minimum(
        height[here], height[there]
    )
    level = np.abs(foot[here] - foot[there]) <= 0.35 * reach
    alike = (shared >= 0.85) | ((shared >= 0.5) & level)
    alike &= reach <= 2.4 * np.minimum(size[here], size[there])
    gap = extent[there, LEFT] - extent[here, RIGHT]
    alike &= (gap >= -4 * reach) & (gap <= LABEL_GAP * reach) & (middle[here] != middle[there])
    here, there, gap, reach = here[alike], there[alike], gap[alike], reach[alike]
    least = np.full(len(extent), np.inf, np.float32)  # to the left of each segment
    np.minimum.at(least, there, gap)
    nearest = _firsts(here, gap, there)
    here, there, gap, reach = here[nearest], there[nearest], gap[nearest], reach[nearest]
    close = gap <= least[there] + reach
    return list(zip(*(column[close].tolist() for column in (here, there, gap, reach)), strict=True))


def _firsts(of: NDArray[np.intp], cost: NDArray[np.float32], to: NDArray[np.intp]) -> NDArray[np.intp]:
    """The numbers of the cheapest pairs `of`, `to`, one for each `of` in their order; of equals the first
    `to`."""
    order = np.lexsort((to, cost, of))
    return order[np.flatnonzero(np.diff(of[order], prepend=-1))]


def _adopt(
    boxes: Boxes, heights: NDArray[np.float32], label: NDArray[np.intp], drop: bool = False
) -> NDArray[np.intp]:
    """Gives dots, accents, quotes and parts of characters to the line they stand in or at; `drop` makes the
    rest -1.

    Done before the search for gutters too: Chinese punctuation leaves white cells that stand below each
    other.
    """
    for _ in range(ROUNDS):
        count = int(label.max()) + 1
        extent, size = _extents(boxes, label, count), _upper_height(heights, boxes, label, count)
        body = _is_body(extent, size)
        owner = _owners(extent, size, body)
        if (owner < 0).all():
            break
        moved = np.where(owner >= 0, owner, np.arange(count))
        label = np.unique(moved[label], return_inverse=True)[1].reshape(-1)
    return np.where(body[label], label, -1) if drop else label


def _owners(extent: Boxes, size: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(N,) for each piece the line that takes it in, -1 where none does."""
    owner = np.full(len(extent), -1, np.intp)
    lines = np.flatnonzero(body)
    if not len(lines):
        return owner
    middle, height = (extent[:, TOP] + extent[:, BOTTOM]) / 2, extent[:, BOTTOM] - extent[:, TOP]
    order = np.argsort(middle, kind="stable")
    # A line is compared with the pieces in its rows and at most so far above or below.
    reach = AROUND * size[lines] + 1
    start = np.searchsorted(middle[order], extent[lines, TOP] - reach)
    count = np.searchsorted(middle[order], extent[lines, BOTTOM] + reach) - start
    piece, line = order[counted(start, count)], np.repeat(lines, count)
    box, em, own = extent[line], size[line], extent[piece]
    width, centre_y = own[:, RIGHT] - own[:, LEFT], middle[piece]
    centre_x = (own[:, LEFT] + own[:, RIGHT]) / 2
    away_x = np.maximum(0, np.maximum(box[:, LEFT] - own[:, RIGHT], own[:, LEFT] - box[:, RIGHT]))
    away_y = np.maximum(0, np.maximum(box[:, TOP] - centre_y, centre_y - box[:, BOTTOM]))
    inside = (centre_x > box[:, LEFT]) & (centre_x < box[:, RIGHT])
    near = (away_x <= 1.2 * em) & (away_y <= np.where(inside, AROUND, 0.3) * em)
    small = (size[piece] <= 0.62 * em) | (inside & (away_y == 0))
    small &= width < 0.5 * (box[:, RIGHT] - box[:, LEFT])
    small &= inside | ((away_x <= size[piece]) & (width <= 2.4 * size[piece]))
    near &= (height[piece] <= 1.3 * em) & (~body[piece] | (small & (away_y <= 0.3 * em))) & (piece != line)
    piece, line, cost = piece[near], line[near], (away_x + 2 * away_y)[near]
    best = _firsts(piece, cost, line)
    owner[piece[best]] = line[best]
    chained = (owner >= 0) & (owner[owner] >= 0)
    owner[chained] = -1
    return owner
