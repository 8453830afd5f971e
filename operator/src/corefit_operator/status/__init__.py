"""What people read: the status of a resource with its conditions, the texts of Events, the gauges.

Here belong pure functions of a reconcile's result. May not do I/O, and may not say more than was found.
"""
