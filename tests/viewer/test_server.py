"""The server without a browser: tiles, layers, review, security."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from histoscout.detection.results import ResultFolder
from histoscout.errors import OutputError
from histoscout.review.review import Review
from histoscout.viewer.app import build_app
from histoscout.viewer.layers import OpenHeatmaps
from histoscout.viewer.library import Library, open_library
from histoscout.viewer.security import MAX_BODY, Guard
from histoscout.viewer.tiles import OpenSlides, TileServer, encode_jpeg, last_level, tile_box
from tests.viewer.results import MPP as SLIDE_MPP
from tests.viewer.results import NAMES, write_results

HOST = "127.0.0.1:9000"
TOKEN = "secret"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library([write_results(tmp_path)])


@pytest.fixture
def client(library: Library, tmp_path: Path) -> Iterator[TestClient]:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html>", encoding="utf-8")
    app, viewer = build_app(library, page)
    guard = Guard(app, TOKEN, frozenset({HOST}))
    with TestClient(
        guard, base_url=f"http://{HOST}", headers={"cookie": f"{guard.cookie}={TOKEN}"}
    ) as client:
        yield client
    viewer.close()


def key(library: Library, name: str = "A1") -> str:
    return next(slide.key for slide in library.slides if slide.name == name)


def post(client: TestClient, path: str, values: Any, **headers: str) -> Any:
    return client.post(path, json=values, headers={"origin": f"http://{HOST}", **headers})


# ---------------------------------------------------------------- slides


def test_every_slide_is_listed_and_a_broken_one_says_why(client: TestClient) -> None:
    facts = client.get("/api/library").json()
    assert {slide["name"] for slide in facts["slides"]} == {*NAMES, "broken"}
    faults = {slide["name"]: slide["fault"] for slide in facts["slides"]}
    assert faults["broken"]
    assert not faults["A1"]
    assert facts["writable"]


@pytest.mark.parametrize("address", [(11, 0, 0), (11, 2, 2), (10, 1, 0), (9, 0, 0), (3, 0, 0)])
def test_a_tile_is_what_the_slide_reads(
    client: TestClient, library: Library, address: tuple[int, int, int]
) -> None:
    response = client.get(f"/api/slides/{key(library)}/tile/{'/'.join(map(str, address))}")
    assert response.headers["content-type"] == "image/jpeg"
    with OpenSlides().use(library.slides[0]) as slide:
        place = tile_box(slide, *address)
        assert place is not None
        assert last_level(slide) == 11
        expected = encode_jpeg(Image.fromarray(slide.read(place[0], place[1] * slide.mpp)))
    assert library.slides[0].name == "A1"
    assert response.content == expected


def test_there_are_no_tiles_beyond_the_slide(client: TestClient, library: Library) -> None:
    for place in ("12/0/0", "11/3/0", "11/0/3"):
        assert client.get(f"/api/slides/{key(library)}/tile/{place}").status_code == 404


def test_the_cache_is_bounded(library: Library) -> None:
    slides = OpenSlides()
    tiles = TileServer(slides, 200_000, prefetch=False)
    viewed = library.slides[0]
    for column in range(3):
        for row in range(3):
            tiles.read(viewed, 11, column, row)
    assert 0 < tiles.cached_bytes <= 200_000
    slides.close()


def test_slides_stay_open_within_a_limit(library: Library) -> None:
    slides = OpenSlides(limit=1)
    first, second = (slide for slide in library.slides if not slide.fault)
    with slides.use(first) as one:
        with slides.use(second) as two:
            assert two.read(two.box, 100).size
        assert one.read(one.box, 100).size
    slides.close()


# ---------------------------------------------------------------- layers


def test_a_heatmap_tile_is_transparent_where_nothing_is_probable(
    client: TestClient, library: Library
) -> None:
    response = client.get(f"/api/slides/{key(library)}/heat/11/0/0?label=UDH&colors=viridis")
    alpha = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))[..., 3]
    assert alpha[150, 150] == 255
    assert alpha[20, 20] == 0
    assert client.get(f"/api/slides/{key(library)}/heat/11/0/0?label=other").status_code == 404


def test_a_higher_threshold_leaves_the_surest_region(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}/regions"
    assert len(client.get(path).json()["regions"]) == 2
    at_low = client.get(f"{path}?label=UDH&threshold=0.5").json()["regions"]
    at_high = client.get(f"{path}?label=UDH&threshold=0.8").json()["regions"]
    assert (len(at_low), len(at_high)) == (2, 1)


def test_findings_are_compared_with_annotations(client: TestClient, library: Library) -> None:
    values = client.get(f"/api/slides/{key(library)}/regions").json()
    assert sorted(region["match"] for region in values["regions"]) == ["false positive", "true positive"]
    assert {region["label"]: region["missed"] for region in values["annotations"]} == {
        "UDH": False,
        "ADH": False,
    }


def test_tissue_is_outlined(client: TestClient, library: Library) -> None:
    assert set(client.get(f"/api/slides/{key(library)}/tissue").json()) == {"tissue", "skipped"}


# ---------------------------------------------------------------- review


def test_a_verdict_is_saved_and_undone(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}"
    region = client.get(f"{path}/regions").json()["regions"][0]
    accept = {"kind": "accept", "reader": "AB", "sources": [region["id"]], "versions": {region["id"]: ""}}
    state = post(client, f"{path}/operate", accept).json()
    assert state["regions"][region["id"]]["outcome"] == "accept"
    assert library.review is not None
    again = Review(library.review.folder)
    assert again.slide("A1").regions[region["id"]].outcome == "accept"
    state = post(client, f"{path}/operate", {"kind": "undo", "reader": "AB"}).json()
    assert state["regions"] == {}


def test_an_edit_of_an_outline_that_changed_is_a_conflict(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}"
    region = client.get(f"{path}/regions").json()["regions"][0]

    def edit(reader: str) -> Any:
        regions = [{"id": region["id"], "label": "UDH", "outline": region["outline"]}]
        values = {"kind": "edit", "reader": reader, "sources": [region["id"]], "regions": regions}
        return post(client, f"{path}/operate", {**values, "versions": {region["id"]: ""}}).json()

    assert edit("AB")["conflicts"] == []
    assert [conflict["reader"] for conflict in edit("CD")["conflicts"]] == ["CD"]


def test_the_detectors_files_never_change(client: TestClient, library: Library, tmp_path: Path) -> None:
    files = [path for path in (tmp_path / "found").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    path = f"/api/slides/{key(library)}"
    post(client, f"{path}/operate", {"kind": "no lesion", "reader": "AB"})
    region = client.get(f"{path}/regions").json()["regions"][0]
    post(client, f"{path}/operate", {"kind": "delete", "reader": "AB", "sources": [region["id"]]})
    assert {path: path.read_bytes() for path in files} == before


def test_strokes_come_back_as_outlines(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}/shape"
    square = {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]]}
    brush = post(client, path, {"tool": "brush", "outlines": [square], "points": [[100, 50]], "radius": 20})
    assert brush.json()["outlines"][0]["type"] == "Polygon"
    cut = post(client, path, {"tool": "cut", "outlines": [square], "points": [[50, -5], [50, 105]]})
    assert len(cut.json()["outlines"]) == 2
    wand = post(client, path, {"tool": "wand", "points": [[150, 150]], "label": "UDH", "threshold": 0.5})
    assert len(wand.json()["outlines"]) == 1
    assert (
        post(client, path, {"tool": "cut", "outlines": [square], "points": [[0, -9], [9, -9]]}).status_code
        == 409
    )


def test_validated_areas_are_exported(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}"
    region = client.get(f"{path}/regions").json()["regions"][0]
    post(client, f"{path}/operate", {"kind": "accept", "reader": "AB", "sources": [region["id"]]})
    lines = client.get("/api/export/regions").text.splitlines()
    assert len(lines) == 2
    assert "AB" in lines[1]
    assert client.get("/api/export/other").status_code == 404


def test_without_results_nothing_is_saved(tmp_path: Path) -> None:
    write_results(tmp_path)
    assert open_library([tmp_path / "A1.tif"]).review is None
    assert open_library([tmp_path / "A1.tif"], out=tmp_path / "mine").review is not None


# ---------------------------------------------------------------- security


def test_nothing_is_answered_without_the_token(client: TestClient) -> None:
    for headers in ({"cookie": ""}, {"cookie": "histoscout-9000=wrong"}):
        assert client.get("/api/library", headers=headers).status_code == 401
    assert client.get("/?token=wrong", headers={"cookie": ""}).status_code == 401
    opened = client.get(f"/?token={TOKEN}", headers={"cookie": ""})
    assert opened.status_code == 200
    assert "HttpOnly" in opened.headers["set-cookie"]
    assert "SameSite=Strict" in opened.headers["set-cookie"]


def test_other_hosts_and_origins_are_refused(client: TestClient, library: Library) -> None:
    assert client.get("/api/library", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/api/library", headers={"origin": "http://evil.example"}).status_code == 403
    path = f"/api/slides/{key(library)}/operate"
    values = {"kind": "no lesion", "reader": "AB"}
    assert post(client, path, values, origin="http://evil.example").status_code == 403
    assert client.post(path, json=values).status_code == 403
    assert post(client, path, values, **{"content-type": "text/plain"}).status_code == 403
    assert library.review is not None
    assert library.review.slides == ()


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/found/ledger.csv",
        "/page/..%2f..%2ffound%2fledger.csv",
        "/assets/..%2f..%2fledger.csv",
        "/api/slides/..%2fA1/tile/0/0/0",
        "/api/slides/A1/tile/0/0/0",
    ],
)
def test_no_path_leads_out_of_what_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_get_changes_nothing_and_sizes_are_limited(client: TestClient, library: Library) -> None:
    path = f"/api/slides/{key(library)}/operate"
    assert client.get(path).status_code == 405
    assert client.delete(path).status_code == 405
    assert post(client, path, {"comment": "x" * MAX_BODY}).status_code == 413
    assert (
        client.post(
            path, content=b"[[", headers={"origin": f"http://{HOST}", "content-type": "application/json"}
        ).status_code
        == 400
    )


def test_the_policy_allows_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/api/library", "/no-such-page"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_regions_are_outlined_as_the_results_say(tmp_path: Path) -> None:
    output = ResultFolder(write_results(tmp_path))
    assert open_library([output.folder]).threshold is None
    choices = {"model": "m", "threshold": 0.4, "detection": {"min_area_um2": 30_000}}
    output.outlining.write_text(json.dumps(choices))
    library = open_library([output.folder])
    assert library.threshold == 0.4
    slide = library.slides[0]
    heatmap = OpenHeatmaps().read(slide)
    assert heatmap is not None
    areas = [region.area_mm2(SLIDE_MPP) for region in slide.outlining.find(heatmap, "UDH", 0.5)]
    # the smaller of the two has 0.026 mm2
    assert [area > 0.03 for area in areas] == [True]
    output.outlining.write_text("[]")
    with pytest.raises(OutputError, match="outlined"):
        open_library([output.folder])
