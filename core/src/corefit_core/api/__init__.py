"""The InferenceService resource: its structs, the CRD that they generate, and the reference page. May not decide."""
