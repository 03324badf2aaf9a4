"""What is `gcisg_suite.audit` now."""

from gcisg_suite.aliases import renamed

renamed(__name__, {old: f"gcisg_suite.audit.{old}" for old in ("coco", "images", "parallel")})
