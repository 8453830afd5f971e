"""`python -m corefit_operator.crd`: writes the CRD and its reference page, or with --check names stale files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from corefit_core import naming
from corefit_core.api import crd, reference

HEADER: Final = "# Generated from core/src/corefit_core/api by `python -m corefit_operator.crd`: do not edit.\n"
PLAIN: Final = Path("crds") / f"{naming.GROUP}_{naming.PLURAL}.yaml"
TEMPLATE: Final = Path("charts/corefit/templates/crd.yaml")
REFERENCE: Final = Path("docs/reference.md")


def plain() -> str:
    """For `kubectl apply -f crds/`."""
    return HEADER + _yaml(crd.manifest())


def template() -> str:
    """For the chart: helm never upgrades what is in a chart's own crds folder, but it does upgrade templates."""
    manifest = crd.manifest()
    spec = _yaml({"spec": manifest["spec"]}).replace("{{", '{{ "{{" }}')
    return (
        f"{{{{- if .Values.crds.install }}}}\n{HEADER}"
        f"apiVersion: {manifest['apiVersion']}\nkind: {manifest['kind']}\n"
        f"metadata:\n  name: {manifest['metadata']['name']}\n"
        '  labels:\n    {{- include "corefit.labels" . | nindent 4 }}\n'
        "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
        f"{spec}{{{{- end }}}}\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks; the exit status is 1 when a file is stale."""
    parser = argparse.ArgumentParser(prog="python -m corefit_operator.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (default: here)")
    options = parser.parse_args(arguments)
    stale = [p for p, text in files(options.root).items() if not p.exists() or p.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path} is stale: run python -m corefit_operator.crd", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files(options.root)[path])
    return 0


def files(root: Path) -> dict[Path, str]:
    """The generated files and what they are to hold."""
    page = "<!-- " + HEADER.removeprefix("# ").rstrip() + " -->\n\n" + reference.markdown(crd.manifest())
    return {root / PLAIN: plain(), root / TEMPLATE: template(), root / REFERENCE: page}


class _Dumper(yaml.SafeDumper):
    """Without anchors: a part that occurs twice is written twice, as people and diffs read it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class asks for each part
        return True


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=116, allow_unicode=True)
    return text


if __name__ == "__main__":
    sys.exit(main())
