"""`corefit inject`: its options, and the documents from files to standard output."""

import argparse
import sys

from corefit.inject import documents, kubernetes_yaml, sources
from corefit_core.naming import LABEL_INJECT


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "inject",
        help="put the runtime as a sidecar into manifests",
        description=f"Puts the runtime beside the containers of every pod template that is labelled {LABEL_INJECT}: "
        "NAME, and prints all documents. For clusters that can't do so at admission (before Kubernetes 1.36).",
    )
    parser.add_argument("-f", "--filename", action="append", required=True, help="manifests in YAML; - for stdin")
    parser.add_argument("--service", help="an InferenceService in a file, instead of what the cluster has of that name")
    parser.add_argument("--runtime-image", default="", help="with --service, where it names none")
    parser.add_argument("--namespace", "-n", default="", help="of the InferenceService, where a document names none")
    parser.add_argument("--context", default="", help="of kubectl")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.service:
        source = sources.from_file(options.service, options.runtime_image)
    else:
        source = sources.from_cluster(options.context)
    given = [document for name in options.filename for document in documents.read(name)]
    injected = [(each, documents.injected(each.value, source, options.namespace)) for each in given]
    for document, value in injected:
        sys.stdout.write(kubernetes_yaml.written(document, value))
    return 0
