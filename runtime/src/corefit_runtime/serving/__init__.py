"""Brings a model into service and keeps its plan fitting: load, warm up, plan, re-plan, reload."""
