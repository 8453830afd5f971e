"""The conditions of a resource, one module a subject, and the one table of them. Pure.

A new condition is a module of this package and a line of `table.CONDITIONS`. Each message is for a person who has read
none of the documentation: what is the case, and what to do about it.
"""
