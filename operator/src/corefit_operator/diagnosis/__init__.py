"""What is wrong, and what a person can do about it.

Here belongs the text of a fix for each reason, and what tells a reason from the state of pods. Pure. May not know how a
problem is published.
"""
