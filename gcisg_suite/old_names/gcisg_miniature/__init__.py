"""What is `gcisg_suite.miniature` now."""

from gcisg_suite.aliases import renamed

MODULES = ("classification", "criteria", "folders", "glyphs", "ingredients", "network", "scene_formats", "scenes",
           "strokes", "styles", "templates")  # fmt: skip
renamed(__name__, {old: f"gcisg_suite.miniature.{old}" for old in MODULES})
