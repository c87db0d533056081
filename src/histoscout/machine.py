"""Check this machine: what histoscout needs, what is missing, and what to do about it."""

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from histoscout.hardware import usable_cores
from histoscout.io.files import StrPath
from histoscout.io.inputs import real_path

MIN_DISK_GB = 5.0
"""With less free space, results may not fit."""

MIN_MEMORY_GIB = 4.0
"""With less memory, training needs smaller batches."""

PACKAGES = (
    ("openslide-python", "openslide", "reads slides"),
    ("openslide-bin", "openslide_bin", "reads slides"),
    ("tifffile", "tifffile", "reads OME-TIFF, writes pyramids"),
    ("imagecodecs", "imagecodecs", "decodes JPEG and JPEG 2000 in TIFF"),
    ("torch", "torch", "trains networks"),
    ("segmentation-models-pytorch", "segmentation_models_pytorch", "provides networks"),
    ("timm", "timm", "provides encoders"),
    ("lightning-fabric", "lightning_fabric", "trains networks"),
    ("openvino", "openvino", "runs networks on CPUs, several times faster"),
)
"""Packages that are needed or useful: name to install, module, and what it is for."""


@dataclass(frozen=True, kw_only=True)
class MachineCheck:
    """The result of one check of the machine.

    Attributes:
        name: What was checked.
        state: "ok", "note" for something to know, "missing" for something that does not work.
        detail: What was seen.
        remedy: What to do; empty if nothing needs to be done.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    detail: str
    remedy: str = ""


def doctor(folder: StrPath = Path()) -> list[MachineCheck]:
    """Check what histoscout needs or can use on this machine; nothing is changed.

    Args:
        folder: The folder for results, whose disk is checked.

    Returns:
        One result for each check.

    Example:
        >>> from histoscout import doctor
        >>> checks = doctor()
        >>> [check.state for check in checks if check.name == "python"]
        ['ok']
    """
    folder = Path(folder)
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    checks = [
        MachineCheck(name="python", state="ok", detail=python),
        _check_cores(),
        _check_memory(),
        _check_disk(folder),
    ]
    checks += [check_package(name, module, use) for name, module, use in PACKAGES]
    # torch is slow to import, so only if it is there
    if _is_installed("torch"):
        checks.append(_check_torch())
    if _is_installed("openvino"):
        detail = "OpenVINO on the CPU (detect --device openvino)"
        checks.append(MachineCheck(name="detection engine", state="ok", detail=detail))
    return checks


def check_package(name: str, module: str, use: str) -> MachineCheck:
    """Check whether a package is installed.

    Args:
        name: The name to install it by.
        module: The module it provides.
        use: What it is for, for the message.

    Returns:
        The result.
    """
    try:
        return MachineCheck(name=name, state="ok", detail=f"{version(name)}, {use}")
    except PackageNotFoundError:
        # another package may contain it, as pytorch-lightning contains lightning-fabric
        if _is_installed(module):
            return MachineCheck(name=name, state="ok", detail=f"part of another package, {use}")
        if module == "openvino" and platform.machine().lower() not in {"x86_64", "amd64"}:
            detail = f"not available for this processor; {use}: torch is used instead"
            return MachineCheck(name=name, state="note", detail=detail)
        return MachineCheck(name=name, state="missing", detail=use, remedy=f"pip install {name}")


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _check_cores() -> MachineCheck:
    flags = _read_cpu_flags()
    fast = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    cores, usable = os.cpu_count() or 1, usable_cores()
    limit = f", {usable} of them for this process" if usable < cores else ""
    return MachineCheck(name="processor", state="ok", detail=", ".join([f"{cores} cores{limit}", *fast]))


def _read_cpu_flags() -> set[str]:
    """The instruction sets of the processor; empty on systems other than Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split(":", 1)[1].split()) if lines else set()


def _check_memory() -> MachineCheck:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return MachineCheck(name="memory", state="note", detail="unknown on this system")
    gibibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    detail = f"{gibibytes:.1f} GiB"
    if gibibytes < MIN_MEMORY_GIB:
        remedy = "Train with a smaller batch and fewer workers"
        return MachineCheck(name="memory", state="note", detail=detail, remedy=remedy)
    return MachineCheck(name="memory", state="ok", detail=detail)


def _check_disk(folder: Path) -> MachineCheck:
    free = shutil.disk_usage(folder).free / 1e9
    detail = f"{free:.0f} GB free in {real_path(folder)}"
    if free < MIN_DISK_GB:
        remedy = "Choose another folder with -o, or free some space"
        return MachineCheck(name="disk", state="note", detail=detail, remedy=remedy)
    return MachineCheck(name="disk", state="ok", detail=detail)


def _check_torch() -> MachineCheck:
    from histoscout.training.setup import best_device, supports_bf16

    device = best_device()
    detail = f"{device}, {'bf16' if supports_bf16(device) else 'float32'}"
    return MachineCheck(name="training device", state="ok", detail=detail)
