"""Audit logs: that they hold everything, and that nothing done to them goes unseen."""
