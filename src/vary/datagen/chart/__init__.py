"""Charts of many kinds, drawn by matplotlib and ECharts, with the Python dicts that they show."""

from __future__ import annotations

from vary.datagen.chart.config import ChartConfig
from vary.datagen.chart.engine import ChartEngine, DrawnChart

__all__ = ["ChartConfig", "ChartEngine", "DrawnChart"]
