"""Finding the cluster's programs on this machine, and building into the cache what is not found.

The only module that runs Go. What is built, and how, is decided in `programs`.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corefit_devcluster import needs
from corefit_devcluster.errors import BuildError, DevclusterError
from corefit_devcluster.host import install, missing_c_library, missing_packages, missing_seccomp
from corefit_devcluster.locks import locked
from corefit_devcluster.paths import Home
from corefit_devcluster.programs import Family, Program
from corefit_devcluster.progress import Reporter, Step
from corefit_devcluster.run import run, tail
from corefit_devcluster.toolchain import PINS, find_go

NICE = 5


@dataclass(frozen=True)
class Builder:
    """Locates programs, and builds the missing ones.

    Attributes:
        search: folders in which a program of the right version is accepted instead of a build.
    """

    home: Home
    reporter: Reporter
    search: Sequence[Path]

    def ensure(self, families: Sequence[Family]) -> dict[str, Path]:
        """Return where each program is, having built what was missing."""
        located: dict[str, Path] = {}
        missing: dict[Family, list[Program]] = {}
        for family in families:
            folder = self.folder(family)
            for program in family.programs:
                found = self._locate(program, folder)
                if found is None:
                    missing.setdefault(family, []).append(program)
                else:
                    located[program.name] = found
        if missing:
            located.update(self._build_all(missing))
        return located

    def folder(self, family: Family) -> Path:
        """Name the cache folder of a family."""
        pins = {path.name: path.read_bytes() for path in sorted(_module(family).iterdir()) if path.is_file()}
        return self.home.programs / family.cache_key(pins, f"{platform.system()}-{platform.machine()}")

    def _locate(self, program: Program, folder: Path) -> Path | None:
        built = folder / program.name
        if built.exists():
            return built
        for candidate in (path / program.name for path in self.search):
            if _has_right_version(program, candidate):
                return candidate
        return None

    def _build_all(self, missing: Mapping[Family, Sequence[Program]]) -> dict[str, Path]:
        self._announce(missing)
        if any(family.cgo for family in missing):
            install([*missing_packages(needs.BUILD), *missing_c_library(), *missing_seccomp()], self.reporter)
        go = find_go(self.home.cache, self.reporter)
        built: dict[str, Path] = {}
        for family, programs in missing.items():
            built.update(self._build(go, family, programs))
        return built

    def _announce(self, missing: Mapping[Family, Sequence[Program]]) -> None:
        names = [program.name for programs in missing.values() for program in programs]
        minutes = sum(family.minutes * len(lacking) / len(family.programs) for family, lacking in missing.items())
        self.reporter.say(
            f"Building {len(names)} programs once, into {self.home.programs}: about {max(1, round(minutes))} minutes"
            f" on two cores ({', '.join(names)})"
        )

    def _build(self, go: Path, family: Family, programs: Sequence[Program]) -> dict[str, Path]:
        folder = self.folder(family)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"), tempfile.TemporaryDirectory(dir=folder) as scratch:
            lacking = [program for program in programs if not (folder / program.name).exists()]
            if lacking:  # another process may have built them while this one waited for the lock
                self._compile(go, family, lacking, Path(scratch))
            for program in lacking:
                (Path(scratch) / _go_names(program.package)).replace(folder / program.name)
        return {program.name: folder / program.name for program in programs}

    def _compile(self, go: Path, family: Family, programs: Sequence[Program], target: Path) -> None:
        environment = {**os.environ, **family.build_environment()}
        packages = [program.package for program in programs]
        title = f"{family.name} {family.version} ({', '.join(program.name for program in programs)})"
        with self.reporter.step(f"Reading the sources of {family.name}"):
            stale = _stale_packages(go, family, packages, environment)
        command = ["nice", "-n", str(NICE), str(go), "build", "-v", *family.build_flags(), "-o", f"{target}/"]
        with self.reporter.step(f"Building {title}", total=stale) as step:
            _go_build([*command, *packages], _module(family), environment, step)


def _module(family: Family) -> Path:
    folder = PINS / family.name
    if not (folder / "go.mod").exists():
        raise BuildError(
            f"{folder}/go.mod is missing", hint="Run corefit-devcluster from a checkout, after: . .venv/bin/activate"
        )
    return folder


def _go_names(package: str) -> str:
    """Name the file that `go build` writes for a package: its last element that is not a major version."""
    elements = package.split("/")
    versioned = elements[-1].startswith("v") and elements[-1][1:].isdigit()
    return elements[-2] if versioned else elements[-1]


def _has_right_version(program: Program, path: Path) -> bool:
    if not os.access(path, os.X_OK):
        return False
    try:
        return program.accepts(run([path, *program.version_command], timeout=20))
    except (DevclusterError, OSError):
        return False


def _stale_packages(go: Path, family: Family, packages: Sequence[str], environment: Mapping[str, str]) -> int:
    """Count what the build will compile: the total of the progress bar. Downloads the modules on the way."""
    template = "{{if .Stale}}{{.ImportPath}}{{end}}"
    try:
        listed = run(
            [go, "list", "-deps", *family.build_flags(), "-f", template, *packages],
            cwd=_module(family),
            env=environment,
        )
    except DevclusterError as error:
        raise BuildError(
            f"cannot get the sources of {family.name}: {error}",
            hint="Go fetches modules from GOPROXY (proxy.golang.org by default): check that this machine reaches it.",
        ) from error
    return len(listed.split())


def _go_build(command: Sequence[str], module: Path, environment: Mapping[str, str], step: Step) -> None:
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=module, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr or ():
            said.append(line)  # with -v each compiled package is one line
            step.at(len(said), line.strip())
    if process.returncode != 0:
        raise BuildError(f"building {module.name} failed:\n{tail(''.join(filter(_is_no_package, said)))}")


def _is_no_package(line: str) -> bool:
    """Whether a line of `go build -v` says something, rather than name a package."""
    return " " in line.strip()


def search_folders(environment: Mapping[str, str]) -> list[Path]:
    """Name the folders in which programs of the right version may already be."""
    named = [environment.get("KUBEBUILDER_ASSETS", ""), *environment.get("PATH", "").split(":")]
    return [Path(folder) for folder in named if folder]


def link_programs(located: Mapping[str, Path], folder: Path) -> None:
    """Make a folder of links to the programs, replacing what was in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, path in located.items():
        (folder / name).symlink_to(path)
