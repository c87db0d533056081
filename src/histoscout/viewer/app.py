"""The routes of the viewer's server. GET changes nothing; every change is one operation of the review."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from histoscout.annotations.polygons import outline_to_geojson, parse_geometry
from histoscout.errors import HistoscoutError, ReviewError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Regions
from histoscout.review.agreement import measure_agreement
from histoscout.review.operation import read_operation, write_operation
from histoscout.review.review import Review
from histoscout.review.state import SlideReview
from histoscout.review.tables import write_validation
from histoscout.viewer.layers import (
    COLOR_MAPS,
    OpenHeatmaps,
    compare_with_reference,
    heatmap_tile,
    read_reference,
    region_around,
    regions_to_json,
    tissue_outlines,
)
from histoscout.viewer.library import Library, ViewedSlide, describe_fault, read_findings
from histoscout.viewer.strokes import add_stroke, erase_stroke, merge_outlines, split_outline
from histoscout.viewer.tiles import TILE, OpenSlides, TileServer, crop_jpeg, last_level

PAGE_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

KEPT = {"cache-control": "private, max-age=3600"}


class Viewer:
    """The server's handlers.

    Args:
        library: What is shown.
        page: Folder of the built page; only the files that lie in it at the start are served.
    """

    def __init__(self, library: Library, page: Path) -> None:
        self.library = library
        self.slides = OpenSlides()
        self.tiles = TileServer(self.slides)
        self.heatmaps = OpenHeatmaps()
        files = [path for path in sorted(page.rglob("*")) if path.is_file() and path.suffix in PAGE_TYPES]
        self.page = {path.relative_to(page).as_posix(): path for path in files}

    def close(self) -> None:
        """Close the slides."""
        self.tiles.close()
        self.slides.close()

    # ------------------------------------------------------------ page and lists

    def page_file(self, request: Request) -> Response:
        """A file of the page, by a name from the list that was made at the start."""
        name = request.path_params.get("name", "") or "index.html"
        path = self.page.get(name)
        if path is None:
            raise HTTPException(404)
        return Response(path.read_bytes(), media_type=PAGE_TYPES[path.suffix])

    def library_facts(self, request: Request) -> Response:
        """The slides and what is known of them."""
        review = self.library.review
        points = self.library.points
        # without tissue there is no rate of false positives
        known = () if points is None or not points.cm2 else points.points
        marks = [] if points is None else [{**p.model_dump(), **points.metrics(p)} for p in known]
        return JSONResponse(
            {
                "slides": [self._row(slide) for slide in self.library.slides],
                "writable": review is not None,
                "readers": [] if review is None else list(review.readers),
                "notes": [*self.library.notes, *(review.notes if review is not None else ())],
                "threshold": self.library.threshold,
                "points": marks,
                "colorMaps": list(COLOR_MAPS),
            }
        )

    def _row(self, slide: ViewedSlide) -> dict[str, Any]:
        state = SlideReview(slide=slide.name) if self._review is None else self._review.slide(slide.name)
        return {
            "key": slide.key,
            "name": slide.name,
            "patient": slide.case.patient,
            "split": slide.case.split,
            "fault": slide.fault,
            "findings": 0 if slide.row is None else slide.row.regions,
            "judged": sum(bool(region.verdicts) for region in state.regions.values()),
            "noLesion": bool(state.no_lesion),
        }

    @property
    def _review(self) -> Review | None:
        return self.library.review

    def slide_facts(self, request: Request) -> Response:
        """Size, resolution and layers of a slide."""
        viewed = self._slide(request)
        heatmap = self.heatmaps.read(viewed)
        with self.slides.use(viewed) as slide:
            return JSONResponse(
                {
                    "name": viewed.name,
                    "width": slide.box.width,
                    "height": slide.box.height,
                    "mpp": slide.mpp,
                    "mppSource": slide.mpp_source,
                    "tile": TILE,
                    "levels": last_level(slide),
                    "vendor": slide.vendor or "",
                    "notes": list(slide.notes),
                    "labels": [] if heatmap is None else list(heatmap.labels),
                    "annotated": viewed.case.annotations is not None,
                }
            )

    # ------------------------------------------------------------ pictures

    def tile(self, request: Request) -> Response:
        """A tile of a slide."""
        place = request.path_params
        tile = self.tiles.read(self._slide(request), place["level"], place["column"], place["row"])
        return _picture(tile, "image/jpeg")

    def heat(self, request: Request) -> Response:
        """A tile of a heatmap."""
        viewed, place = self._slide(request), request.path_params
        heatmap = self.heatmaps.read(viewed)
        colors = request.query_params.get("colors", "heat")
        label = request.query_params.get("label", "")
        if heatmap is None or colors not in COLOR_MAPS or label not in heatmap.labels:
            raise HTTPException(404)
        with self.slides.use(viewed) as slide:
            address = (place["level"], place["column"], place["row"])
            return _picture(heatmap_tile(slide, heatmap, label, address, colors), "image/png")

    def crop(self, request: Request) -> Response:
        """A small picture of a part of a slide; of the whole slide without a place."""
        viewed = self._slide(request)
        with self.slides.use(viewed) as slide:
            box = slide.box
            if "x" in request.query_params:
                x, y, width, height = (_number(request, name) for name in ("x", "y", "width", "height"))
                box = Box(x, y, width, height)
                if min(width, height) < 1 or box.intersection(slide.box) is None:
                    raise HTTPException(404)
                box = box.intersection(slide.box) or box
            return _picture(crop_jpeg(slide, box, 256), "image/jpeg")

    # ------------------------------------------------------------ regions

    def regions(self, request: Request) -> Response:
        """Regions with what readers did; at another threshold they come from the heatmap, without reviews."""
        viewed = self._slide(request)
        with self.slides.use(viewed) as slide:
            mpp = slide.mpp
            reference, notes = read_reference(viewed, slide)
        if "threshold" in request.query_params:
            heatmap = self.heatmaps.read(viewed)
            label = request.query_params.get("label", "")
            if heatmap is None or label not in heatmap.labels:
                raise HTTPException(404)
            threshold = min(1.0, max(0.0, _number(request, "threshold")))
            shown = viewed.outlining.find(heatmap, label, threshold)
        else:
            shown = read_findings(viewed) if self._review is None else self._review.regions(viewed.name)
        labels = {region.label for region in read_findings(viewed)}
        lesions = reference.where(lambda region: region.label in labels)
        values = regions_to_json(list(shown), mpp)
        missed: list[bool] = []
        if len(lesions):
            compared = Regions.of(region for region in shown if region.label != "reviewed")
            states, found = compare_with_reference(compared, lesions)
            by_id = dict(zip((region.id for region in compared), states, strict=True))
            values = [{**value, "match": by_id.get(value["id"], "")} for value in values]
            missed = [not one for one in found]
        flags = iter(missed)
        annotations = [
            {**value, "missed": value["label"] in labels and next(flags)}
            for value in regions_to_json(list(reference), mpp)
        ]
        return JSONResponse({"regions": values, "annotations": annotations, "notes": list(notes)})

    def tissue(self, request: Request) -> Response:
        """Outlines of tissue and of what is skipped."""
        with self.slides.use(self._slide(request)) as slide:
            return JSONResponse(tissue_outlines(slide))

    # ------------------------------------------------------------ review

    def state(self, request: Request) -> Response:
        """What readers did on a slide."""
        viewed = self._slide(request)
        return JSONResponse(_state_to_json(self._writable().slide(viewed.name)))

    async def operate(self, request: Request) -> Response:
        """Save an operation; answers once it is on the disk."""
        values = await _json(request)
        return await run_in_threadpool(self._operate, request, values)

    def _operate(self, request: Request, values: dict[str, Any]) -> Response:
        viewed, review = self._slide(request), self._writable()
        reader = values.get("reader")
        if values.get("kind") == "undo" and not values.get("undoes") and isinstance(reader, str):
            state = review.undo(viewed.name, reader)
        else:
            state = review.record(read_operation({**values, "slide": viewed.name}))
        return JSONResponse(_state_to_json(state))

    async def shape(self, request: Request) -> Response:
        """The outline that a stroke makes; nothing is saved."""
        values = await _json(request)
        return await run_in_threadpool(self._shape, request, values)

    def _shape(self, request: Request, values: dict[str, Any]) -> Response:
        viewed = self._slide(request)
        tool = values.get("tool")
        outlines = [_outline(geometry) for geometry in _list(values, "outlines")]
        points = _points(values)
        radius = (
            float(values.get("radius", 1.0)) if isinstance(values.get("radius", 1.0), int | float) else 0.0
        )
        made: tuple[Outline, ...]
        if tool == "brush":
            made = (add_stroke(outlines[0] if outlines else None, points, radius),)
        elif tool == "erase" and outlines:
            left = erase_stroke(outlines[0], points, radius)
            made = () if left is None else (left,)
        elif tool == "cut" and outlines:
            made = split_outline(outlines[0], points)
        elif tool == "merge" and len(outlines) > 1:
            made = (merge_outlines(outlines),)
        elif tool == "wand" and points:
            made = self._wand(viewed, values, points[0])
        else:
            raise ReviewError("stroke", "this is no tool of the viewer", "Load the page again")
        return JSONResponse({"outlines": [outline_to_geojson(outline) for outline in made]})

    def _wand(
        self, viewed: ViewedSlide, values: Mapping[str, Any], place: tuple[float, float]
    ) -> tuple[Outline, ...]:
        heatmap = self.heatmaps.read(viewed)
        label, threshold = values.get("label"), values.get("threshold")
        if heatmap is None or label not in heatmap.labels or not isinstance(threshold, int | float):
            raise ReviewError("wand", "there is no heatmap here", "Use the brush")
        region = region_around(viewed.outlining.find(heatmap, str(label), float(threshold)), place)
        if region is None:
            raise ReviewError("wand", "no region at this threshold is here", "Lower the threshold")
        return (region.outline,)

    def agreement(self, request: Request) -> Response:
        """Agreement of two readers on all slides."""
        review = self._writable()
        states = [review.slide(name) for name in review.slides]
        first, second = (request.query_params.get(name, "") for name in ("first", "second"))
        return JSONResponse(asdict(measure_agreement(states, first, second)))

    def export(self, request: Request) -> Response:
        """Areas and counts after validation, as CSV."""
        review = self._writable()
        kind = request.path_params["kind"]
        mpp = {}
        for viewed in self.library.slides:
            if viewed.row is not None and viewed.row.mpp is not None:
                mpp[viewed.name] = viewed.row.mpp
            elif not viewed.fault:
                with self.slides.use(viewed) as slide:
                    mpp[viewed.name] = slide.mpp
        with tempfile.TemporaryDirectory() as folder:
            tables = write_validation(review, mpp, Path(folder))
            path = {"regions": tables.regions, "slides": tables.slides}.get(kind)
            if path is None:
                raise HTTPException(404)
            text = path.read_text(encoding="utf-8")
        return Response(
            text, media_type="text/csv", headers={"content-disposition": f'attachment; filename="{kind}.csv"'}
        )

    # ------------------------------------------------------------ requests

    def _slide(self, request: Request) -> ViewedSlide:
        viewed = self.library.find(request.path_params["key"])
        if viewed is None:
            raise HTTPException(404)
        return viewed

    def _writable(self) -> Review:
        if self._review is None:
            raise ReviewError("review", "nothing is saved here", "Start the viewer with a folder: -o FOLDER")
        return self._review


def build_app(library: Library, page: Path) -> tuple[Starlette, Viewer]:
    """The server without its guard.

    Args:
        library: What is shown.
        page: Folder of the built page.

    Returns:
        The application, and its handlers, to be closed.
    """
    viewer = Viewer(library, page)
    slide = "/api/slides/{key}"
    place = "{level:int}/{column:int}/{row:int}"
    gets: dict[str, Callable[[Request], Response]] = {
        "/": viewer.page_file,
        "/page/{name:path}": viewer.page_file,
        "/assets/{asset}": lambda request: viewer.page_file(_as_asset(request)),
        "/api/library": viewer.library_facts,
        slide: viewer.slide_facts,
        f"{slide}/tile/{place}": viewer.tile,
        f"{slide}/heat/{place}": viewer.heat,
        f"{slide}/crop": viewer.crop,
        f"{slide}/regions": viewer.regions,
        f"{slide}/tissue": viewer.tissue,
        f"{slide}/review": viewer.state,
        "/api/agreement": viewer.agreement,
        "/api/export/{kind}": viewer.export,
    }
    routes = [Route(path, handler, methods=["GET"]) for path, handler in gets.items()]
    routes += [
        Route(f"{slide}/operate", viewer.operate, methods=["POST"]),
        Route(f"{slide}/shape", viewer.shape, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {HistoscoutError: _fault_response, HTTPException: _missing_response}
    return Starlette(routes=routes, exception_handlers=handlers), viewer


def _as_asset(request: Request) -> Request:
    request.path_params["name"] = f"assets/{request.path_params['asset']}"
    return request


def _fault_response(request: Request, error: HistoscoutError) -> Response:
    return JSONResponse({"fault": describe_fault(error)}, 409)


def _missing_response(request: Request, error: HTTPException) -> Response:
    return PlainTextResponse(str(error.detail), error.status_code)


def _picture(content: bytes | None, media_type: str) -> Response:
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type=media_type, headers=KEPT)


def _number(request: Request, name: str) -> float:
    try:
        number = float(request.query_params.get(name, ""))
    except ValueError:
        raise HTTPException(400) from None
    if not abs(number) < 1e9:
        raise HTTPException(400)
    return number


async def _json(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(values, dict):
        raise HTTPException(400)
    return values


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    items = values.get(name, [])
    return items if isinstance(items, list) else []


def _points(values: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = []
    for item in _list(values, "points"):
        if not (isinstance(item, list) and len(item) == 2 and all(type(n) in (int, float) for n in item)):
            raise ReviewError("stroke", "a point is no pair of numbers", "Draw it again")
        points.append((float(item[0]), float(item[1])))
    return points


def _outline(geometry: object) -> Outline:
    outline = parse_geometry(geometry, "outline").outline
    if outline is None:
        raise ReviewError("outline", "it has no area", "Draw it again")
    return outline


def _state_to_json(state: SlideReview) -> dict[str, Any]:
    return {
        "regions": {
            identity: {
                "version": reviewed.version,
                "outcome": reviewed.outcome,
                "label": reviewed.label,
                "exists": reviewed.exists,
                "verdicts": {reader: asdict(verdict) for reader, verdict in reviewed.verdicts.items()},
            }
            for identity, reviewed in state.regions.items()
        },
        "noLesion": dict(state.no_lesion),
        "areas": len(state.areas),
        "conflicts": [write_operation(operation) for operation in state.conflicts],
    }
