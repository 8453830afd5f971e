"""Measures a model before it serves: how long runs take, and whether rows are independent."""
