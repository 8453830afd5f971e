"""The demo: a real cluster, a real model, real load; what happened in a table and a picture, and an honest verdict."""
