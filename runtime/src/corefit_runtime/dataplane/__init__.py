"""The data plane: from a request's bytes or tensors to its answer, whatever carried them. Knows no transport."""
