"""Provides locales that a model names and this machine lacks, where glibc looks for them.

onnxruntime's StringNormalizer is part of every text model of skl2onnx. It takes nothing of a locale but how upper and
lower case go together (towupper and towlower), names en_US.UTF-8 unless the model says otherwise, and refuses to load
where that isn't installed: in every container image. C.UTF-8 is part of Debian's and most other libc packages, and has
the same letters for all languages but the few of `OWN_LETTERS`.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from corefit_core.errors import ModelInvalid

STAND_INS: Final = (Path("/usr/lib/locale/C.utf8"), Path("/usr/lib/locale/C.UTF-8"))
OWN_LETTERS: Final = frozenset({"tr", "az", "crh", "ku", "tt"})
"""Languages in which the small letter of I is another one (glibc, localedata: those that copy tr_TR's case rules)."""
_MISSING: Final = re.compile(r"Failed to construct locale with name:([A-Za-z0-9_.@-]{1,64}):")


def missing(refusal: str) -> str:
    """The locale for lack of which onnxruntime refuses a model; empty where it refuses it for something else."""
    found = _MISSING.search(refusal)
    return found[1] if found and not found[1].startswith(".") else ""


def provide(name: str) -> str:
    """Lets C.UTF-8 stand in for a locale, for this process; returns what a person should know of it.

    Raises:
        ModelInvalid: it has letters of its own, or C.UTF-8 isn't here either.
    """
    stand_in = next((path for path in STAND_INS if path.is_dir()), None)
    if stand_in is None or re.split(r"[_.@]", name)[0] in OWN_LETTERS:
        raise ModelInvalid(
            f"the model needs the locale {name}, which is not installed: use an image that has it "
            "(Debian: package locales, a line in /etc/locale.gen, locale-gen)"
        )
    # A folder for each: glibc remembers what a folder hasn't got.
    folder = Path(tempfile.mkdtemp(prefix="corefit-locale-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / name).symlink_to(stand_in)
    os.environ["LOCPATH"] = ":".join(filter(None, (str(folder), os.environ.get("LOCPATH"))))
    return f"the model's locale {name} is not installed: C.UTF-8, whose letters are the same, stands in for it"
