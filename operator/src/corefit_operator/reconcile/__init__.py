"""One reconcile of one resource, in stages that each return a result.

Here belongs the order of the stages and what is remembered between two reconciles. May not know how a stage does its
work, and may not know what woke it.
"""
