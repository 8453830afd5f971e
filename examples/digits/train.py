"""Trains the digits model and writes it beside this file: `model.onnx`, and `rows.json` with rows it never saw.

    python examples/digits/train.py

Logistic regression on scikit-learn's 8x8 digits, a few KB. Deterministic: the same library versions give the same
file; other versions may differ in the last bits of a weight.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 0
ROWS = 100
OPSET = 17  # old enough for every onnxruntime of the last three years


def split() -> Any:
    """Training and test rows and their labels: a quarter of the 1797 is never trained on."""
    features, labels = load_digits(return_X_y=True)
    return train_test_split(features.astype(np.float32), labels, test_size=0.25, random_state=SEED, stratify=labels)


def train(features: Any, labels: Any) -> LogisticRegression:
    """The fitted model. C = 0.01: pixels go from 0 to 16, and the default of 1 fits noise on that scale."""
    return LogisticRegression(C=0.01, max_iter=5000).fit(features, labels)


def export(model: LogisticRegression, features: Any) -> bytes:
    """The model as ONNX: `X` FP32 [N,64] in, `label` INT64 [N] and `probabilities` FP32 [N,10] out."""
    graph = to_onnx(model, features[:1], options={"zipmap": False}, target_opset=OPSET)
    return bytes(graph.SerializeToString())


def rows(model: LogisticRegression, features: Any, labels: Any) -> dict[str, Any]:
    """Unseen rows: what is on them, and what the model says (it isn't always right, and a server must not help it)."""
    chosen, truth = features[:ROWS], labels[:ROWS]
    return {
        "input": "X",
        "output": "label",
        "rows": chosen.astype(int).tolist(),
        "labels": truth.tolist(),
        "predictions": model.predict(chosen).tolist(),
    }


def main() -> None:
    """Write both files and say how good the model is."""
    train_features, test_features, train_labels, test_labels = split()
    model = train(train_features, train_labels)
    (HERE / "model.onnx").write_bytes(export(model, train_features))
    (HERE / "rows.json").write_text(json.dumps(rows(model, test_features, test_labels), separators=(",", ":")) + "\n")
    print(f"right on {model.score(test_features, test_labels):.1%} of {len(test_labels)} unseen rows")


if __name__ == "__main__":
    main()
