"""The Corefit operator: reconciles InferenceService resources."""
