"""What this machine has, what is missing, and what to do about it."""

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from histoscout.hardware import usable_cores

LEAST_DISK_GB, LEAST_MEMORY_GB = 5.0, 4.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where there is nothing to do."""

    what: str
    state: Literal["ok", "note", "missing"]
    detail: str
    remedy: str = ""


def doctor(folder: Path = Path()) -> list[Finding]:
    """Look at everything histoscout needs or can use; nothing is changed and nothing is downloaded."""
    findings = [_python(), _cores(), _memory(), _disk(folder)]
    findings += [_package(*row) for row in PACKAGES]
    if _installed("torch"):
        findings.append(_torch())
    if _installed("openvino"):
        findings.append(_openvino())
    return findings


PACKAGES = (
    ("openslide-python", "openslide", "reads slides"),
    ("openslide-bin", "openslide_bin", "reads slides"),
    ("tifffile", "tifffile", "reads OME-TIFF, writes pyramids"),
    ("imagecodecs", "imagecodecs", "JPEG and JPEG 2000 inside TIFF"),
    ("torch", "torch", "trains networks"),
    ("segmentation-models-pytorch", "segmentation_models_pytorch", "networks"),
    ("timm", "timm", "encoders"),
    ("lightning-fabric", "lightning_fabric", "trains networks"),
    ("openvino", "openvino", "runs networks on processors, several times faster"),
)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _python() -> Finding:
    found = platform.python_version()
    return Finding("python", "ok", f"{found} on {platform.system()} {platform.machine()}")


def _package(name: str, module: str, use: str) -> Finding:
    try:
        return Finding(name, "ok", f"{version(name)}, {use}")
    except PackageNotFoundError:
        if _installed(module):  # as part of another package, as lightning-fabric is of pytorch-lightning
            return Finding(name, "ok", f"there as part of another package, {use}")
        if module == "openvino" and platform.machine().lower() not in {"x86_64", "amd64"}:
            return Finding(name, "note", f"not for this processor; {use}: torch is used instead")
        return Finding(name, "missing", use, f"pip install {name}")


def _cores() -> Finding:
    flags = _processor_flags()
    fast = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    there, ours = os.cpu_count() or 1, usable_cores()
    shared = f", {ours} of them for this process" if ours < there else ""
    return Finding("processor", "ok", ", ".join([f"{there} cores{shared}", *fast]))


def _processor_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: nothing to tell
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split(":", 1)[1].split()) if lines else set()


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "note", "unknown on this system")
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if gigabytes < LEAST_MEMORY_GB:
        return Finding(
            "memory", "note", f"{gigabytes:.1f} GiB", "Train with a smaller batch and fewer workers"
        )
    return Finding("memory", "ok", f"{gigabytes:.1f} GiB")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    where = f"{free:.0f} GB free in {folder.resolve()}"
    if free < LEAST_DISK_GB:
        return Finding("disk", "note", where, "Give another folder with -o, or make room")
    return Finding("disk", "ok", where)


def _torch() -> Finding:
    from histoscout.training.setup import computes_bf16, present_device

    device = present_device()
    return Finding("training device", "ok", f"{device}, {'bf16' if computes_bf16(device) else 'float32'}")


def _openvino() -> Finding:
    return Finding("detection engine", "ok", "OpenVINO on the processor (detect --device openvino)")
