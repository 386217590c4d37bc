"""Keys and values of many sequences in pages of equal size: each sequence takes as many as it needs."""

from __future__ import annotations

import torch
from torch import Tensor

from vary.engine.packing import TextShape

__all__ = ["PAGE", "PagedCache"]

PAGE = 64
"""Positions of a page."""
PAGES, ROWS, COLUMNS = 32, 8, 16
"""Pages, sequences, and pages a sequence for which there is room at first."""


class PagedCache:
    """Keys and values of all layers; it grows by doubling, and then its tensors are others.

    Page 0 and row 0 of the table belong to no sequence: there a batch's padding reads and writes.

    Attributes:
        keys, values: of each layer, (pages, kv_heads, PAGE, head_dim).
        table: (rows, columns), int32: the page of each PAGE positions of a sequence.
        version: grows whenever the tensors become others.
    """

    def __init__(self, shape: TextShape, dtype: torch.dtype, device: torch.device) -> None:
        self._sizes = (shape.kv_heads, PAGE, shape.head_dim)
        self._dtype, self._device = dtype, device
        self.keys = [self._pages(PAGES) for _ in range(shape.layers)]
        self.values = [self._pages(PAGES) for _ in range(shape.layers)]
        self._count = PAGES
        self._host = torch.zeros((ROWS, COLUMNS), dtype=torch.int32)
        self.table = self._host.to(device)
        self._free_pages = list(range(PAGES - 1, 0, -1))
        self._free_rows = list(range(ROWS - 1, 0, -1))
        self._taken: dict[int, list[int]] = {}
        self._changed = False
        self.version = 0

    def open(self) -> int:
        """A row of the table for a new sequence."""
        if not self._free_rows:
            rows = len(self._host)
            self._widen(rows, 0)
            self._free_rows = list(range(2 * rows - 1, rows - 1, -1))
        row = self._free_rows.pop()
        self._taken[row] = []
        return row

    def close(self, row: int) -> None:
        """Gives a sequence's row and pages back."""
        self._free_pages += reversed(self._taken.pop(row))
        self._free_rows.append(row)

    def reserve(self, row: int, length: int) -> None:
        """Makes room for a sequence of `length` positions."""
        taken, needed = self._taken[row], -(-length // PAGE)
        while needed > self._host.shape[1]:
            self._widen(0, self._host.shape[1])
        while len(taken) < needed:
            if not self._free_pages:
                self._grow()
            page = self._free_pages.pop()
            self._host[row, len(taken)] = page
            taken.append(page)
            self._changed = True

    def upload(self) -> None:
        """Brings the table on the device up to date."""
        if self._changed:
            self.table.copy_(self._host)
            self._changed = False

    def _widen(self, rows: int, columns: int) -> None:
        """Adds rows and columns to the table."""
        host = torch.zeros((self._host.shape[0] + rows, self._host.shape[1] + columns), dtype=torch.int32)
        host[: self._host.shape[0], : self._host.shape[1]] = self._host
        self._host, self.table, self._changed = host, host.to(self._device), False
        self.version += 1

    def _grow(self) -> None:
        """Doubles the pages, layer after layer, so that hardly more than one layer lies twice meanwhile."""
        pages = 2 * self._count
        self.version += 1  # first: where memory does not suffice for all layers, some are others nevertheless
        for tables in (self.keys, self.values):
            for number, old in enumerate(tables):
                if len(old) < pages:
                    tables[number] = self._pages(pages)
                    tables[number][: len(old)] = old
        self._free_pages = list(range(pages - 1, self._count - 1, -1))
        self._count = pages

    def _pages(self, count: int) -> Tensor:
        return torch.zeros((count, *self._sizes), dtype=self._dtype, device=self._device)
