"""Scenes of drawn objects with exact boxes: detection, referring expressions, pictures without text."""

from __future__ import annotations

from vary.datagen.scene.config import SceneConfig
from vary.datagen.scene.engine import SceneEngine

__all__ = ["SceneConfig", "SceneEngine"]
