"""What the audits of all tasks share, and the audit of detection data of your own. No framework is needed."""
