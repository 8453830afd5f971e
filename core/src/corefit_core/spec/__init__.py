"""One InferenceService as the operator works with it: integers and decided defaults instead of strings."""
