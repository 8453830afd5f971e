"""What is known of the rows of a batch: what a model's graph proves of them. Runs nothing."""
