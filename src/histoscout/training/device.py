"""Where and how precisely training computes."""

import logging
import os
from typing import Literal

import torch
from lightning_fabric import Fabric

from histoscout.cores import usable_cores
from histoscout.errors import TrainingError
from histoscout.training.fingerprint import Machine

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_fabric(device: str, precision: str) -> Fabric:
    """One device and a precision for it: bf16 where the machine computes in it ("auto"), else float32.

    TrainingError if the device is unknown or absent.
    """
    if device not in DEVICES:
        raise TrainingError("--device", f"{device!r} is not a device", f"Take one of {', '.join(DEVICES)}")
    chosen = present_device() if device == "auto" else device
    if (chosen == "cuda" and not torch.cuda.is_available()) or (
        chosen == "mps" and not torch.backends.mps.is_available()
    ):
        raise TrainingError(
            "--device", f"this machine has no {chosen}", "Take --device auto; `histoscout doctor` tells more"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else it tells everybody what it takes
    bf16 = precision == "bf16" or (precision == "auto" and computes_bf16(chosen))
    fabric = Fabric(accelerator=chosen, devices=1, precision="bf16-mixed" if bf16 else "32-true")
    fabric.launch()
    return fabric


def present_device() -> Literal["cpu", "cuda", "mps"]:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def computes_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return device == "cpu" and any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def this_machine() -> Machine:
    """What a training on this machine may use."""
    device = present_device()
    gpu = torch.cuda.get_device_properties(0).total_memory / 2**30 if device == "cuda" else None
    return Machine(usable_cores(), _memory_gb(), device, gpu, computes_bf16(device))


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
