"""The formula engine: documents with formulas and tables, typeset by LaTeX, with their Markdown."""

from vary.datagen.formula.configuration import FormulaEngineConfig
from vary.datagen.formula.engine import FormulaEngine

__all__ = ["FormulaEngine", "FormulaEngineConfig"]
