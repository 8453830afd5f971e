"""The pure decisions of Corefit: API types, sizing, report contract, recommender."""
