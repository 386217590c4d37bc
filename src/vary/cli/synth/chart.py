"""`vary synth chart`: charts with the Python dict that they show, drawn by matplotlib and ECharts."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_font_options,
    add_languages,
    add_licence,
    add_shared_options,
    configured,
    listed,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Draws charts of 17 kinds in English and Chinese, by matplotlib and by ECharts, and writes them with the Python
dict of title and data that they show.  Content is random (words and numbers that have nothing to do with each
other) or related (from some 240 templates).  ECharts needs node and its package; without them draw with
matplotlib alone.  The same options give the same samples, whatever the number of workers.
"""

EPILOG = """\
examples:
  npm install --prefix .node echarts@6
  VARY_NODE_MODULES=.node/node_modules vary synth chart --out charts --samples 10000 --workers 8
  vary synth chart --out charts --samples 500 --renderers matplotlib --kinds bar,lines,pie --languages zh
  vary synth chart --out random --samples 10000 --content random --corpus en.txt.xz zh.txt.xz
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines, "chart", help="charts and their data", description=DESCRIPTION, epilog=EPILOG
    )
    add_shared_options(parser)
    add_clean_share(parser, 0.5)
    add = parser.add_argument
    add("--content", metavar="WHAT", help="random, related or both (default: related)")
    add("--renderers", type=listed, metavar="A,B", help="some of matplotlib, echarts (default: both)")
    add("--kinds", type=listed, metavar="A,B", help="some kinds of charts, such as bar,pie (default: all)")
    add_languages(parser, "en,zh")
    add(
        "--corpus",
        nargs="+",
        metavar="FILE",
        help="text files whose words random content takes (.txt or .txt.xz; default: the templates' words)",
    )
    add_licence(parser)
    add_font_options(parser)
    add(
        "--node-modules",
        metavar="DIR",
        help="folder with the package echarts (default: $VARY_NODE_MODULES, else ./node_modules)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.chart import ChartConfig, ChartEngine

    return write(ChartEngine(configured(ChartConfig, args)), args, label="drawing", unit="chart")
