"""The examples' files are what their scripts write, and what their manifests say."""

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
import yaml
from aiohttp import ClientResponseError
from documented.pages import block_commands

from corefit_core import naming
from corefit_core.api.inference_service import InferenceService
from corefit_core.spec.decode import decode

VERSION = yaml.safe_load((Path(__file__).parents[2] / "charts/corefit/Chart.yaml").read_text())["appVersion"]
EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("digits", "load-model")


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(model: bytes, rows: Any, output: str) -> Any:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: np.array(rows, np.float32)})[0]


def test_training_the_digits_again_gives_equal_predictions() -> None:
    train = script(EXAMPLES / "digits" / "train.py")
    features, test_features, labels, test_labels = train.split()
    model = train.train(features, labels)
    committed = json.loads((EXAMPLES / "digits" / "rows.json").read_text())
    assert train.rows(model, test_features, test_labels) == committed
    again = answers(train.export(model, features), committed["rows"], "label").tolist()
    assert again == committed["predictions"]


def test_the_committed_digits_model_says_what_its_rows_say() -> None:
    committed = json.loads((EXAMPLES / "digits" / "rows.json").read_text())
    model = (EXAMPLES / "digits" / "model.onnx").read_bytes()
    assert answers(model, committed["rows"], "label").tolist() == committed["predictions"]
    right = sum(a == b for a, b in zip(committed["labels"], committed["predictions"], strict=True))
    assert right >= 95


def test_generating_the_load_model_again_gives_the_same_file() -> None:
    generate = script(EXAMPLES / "load-model" / "generate.py")
    made = generate.model().SerializeToString()
    assert made == (EXAMPLES / "load-model" / "model.onnx").read_bytes()
    committed = json.loads((EXAMPLES / "load-model" / "rows.json").read_text())
    assert np.allclose(answers(made, committed["rows"], "scores"), committed["scores"], atol=1e-2)


def test_rows_of_the_load_model_do_not_influence_each_other() -> None:
    committed = json.loads((EXAMPLES / "load-model" / "rows.json").read_text())
    model = (EXAMPLES / "load-model" / "model.onnx").read_bytes()
    alone = [answers(model, [row], "scores")[0] for row in committed["rows"][:4]]
    assert np.allclose(alone, answers(model, committed["rows"][:4], "scores"), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_manifests_are_valid_and_name_the_file_that_is_there(name: str) -> None:
    resource = yaml.safe_load((EXAMPLES / name / "inferenceservice.yaml").read_text())
    assert resource["apiVersion"] == f"{naming.GROUP}/{naming.VERSION}"
    msgspec.convert({"spec": resource["spec"]}, InferenceService)
    service = decode(resource)
    model = (EXAMPLES / name / "model.onnx").read_bytes()
    assert service.model.sha256 == hashlib.sha256(model).hexdigest()
    files = yaml.safe_load((EXAMPLES / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"]
    assert f"{service.model.uri.rpartition('/')[2]}={name}/model.onnx" in files


def test_the_models_fit_into_a_config_map() -> None:
    size = sum(len((EXAMPLES / name / "model.onnx").read_bytes()) for name in NAMES)
    assert size * 4 / 3 < 2**20


@pytest.mark.parametrize("name", ["inferenceservice", "application"])
def test_the_sidecars_manifests_are_valid_and_name_the_digits_model(name: str) -> None:
    resource = yaml.safe_load((EXAMPLES / "sidecar" / f"{name}.yaml").read_text())
    msgspec.convert({"spec": resource["spec"]}, InferenceService)
    service = decode(resource)
    assert service.model.sha256 == hashlib.sha256((EXAMPLES / "digits" / "model.onnx").read_bytes()).hexdigest()
    assert service.model.name == script(EXAMPLES / "sidecar" / "app.py").MODEL
    assert service.injected == (name == "inferenceservice")


def test_the_sidecars_deployment_names_its_resource() -> None:
    (deployment, _) = yaml.safe_load_all((EXAMPLES / "sidecar" / "deployment.yaml").read_text())
    resource = yaml.safe_load((EXAMPLES / "sidecar" / "inferenceservice.yaml").read_text())
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels[naming.LABEL_INJECT] == resource["metadata"]["name"]
    target = resource["spec"]["scaling"]["targetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


@pytest.mark.parametrize("sent", [None, [], [0] * 63, [17] + [0] * 63, ["0"] * 64, {"a": 1}])
def test_the_drawing_application_refuses_what_is_no_drawing(sent: Any) -> None:
    assert script(EXAMPLES / "sidecar" / "app.py").drawing(sent) is None


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ClientResponseError(None, (), status=503, headers={"Retry-After": "2"}), (503, {"Retry-After": "2"})),
        (ClientResponseError(None, (), status=503), (502, {})),
        (TimeoutError(), (502, {})),
    ],
)
def test_the_drawing_application_hands_on_that_and_when_it_may_be_asked_again(error: Exception, answer: Any) -> None:
    assert script(EXAMPLES / "sidecar" / "app.py").handed_on(error) == answer


def test_one_command_of_the_readme_puts_a_registry_into_all_examples_and_the_chart(tmp_path: Path) -> None:
    """Whatever registry was set for the chart, the examples pulled from another."""
    registry = "registry.example:5000/team"
    commands = [text.replace("REGISTRY", registry) for text in block_commands("README.md")]
    [replace] = [text for text in commands if text.startswith("sed ")]
    [install] = [text for text in commands if text.startswith("helm install")]
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    subprocess.run(["bash", "-c", replace], cwd=tmp_path, check=True)
    texts = [path.read_text() for path in (tmp_path / "examples").rglob("*.yaml")]
    images = {image for text in texts for image in re.findall(r"image: *(\S+)", text)}
    assert images == {f"{registry}/{name}:{VERSION}" for name in ("operator", "runtime")}
    assert f"image.repository={registry}/operator " in install
    assert f"runtimeImage={registry}/runtime:{VERSION}" in install
    assert not any("corefit.local" in text for text in texts)
