"""What the tests of the viewer share; they are skipped without the packages of the viewer."""

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
