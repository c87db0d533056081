"""OpenVINO without its telemetry: a plain import of it reports to its makers. Import it from here only."""

import sys
from typing import Any

# None makes the import of the reporting package fail, for which OpenVINO has a stand-in that sends nothing
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

ov: Any = openvino

__all__ = ["ov"]
