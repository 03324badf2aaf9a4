"""What the audits of all tasks share, and the audit of detection data of one's own. No framework is needed."""
