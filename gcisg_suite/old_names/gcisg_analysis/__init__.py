"""What is `gcisg_suite.analysis`, `.report` and `.selection` now."""

from gcisg_suite.aliases import renamed

renamed(
    __name__,
    {
        **{old: f"gcisg_suite.analysis.{old}" for old in ("analyze", "compare", "load", "page", "pictures", "task")},
        "report": "gcisg_suite.report.page",
        "runs": "gcisg_suite.report.runs",
        "selection": "gcisg_suite.selection.criteria",
        **{old: f"gcisg_suite.selection.{old}" for old in ("during_training", "mmengine_hook", "run_checkpoints")},
    },
)
