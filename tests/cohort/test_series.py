"""A slide is a file and a series: in tables, QuPath projects, names, splits, fingerprints and conversion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from histoscout.annotations.qpdata.image import image_series, read_server
from histoscout.annotations.read import ImageMetadata, read_annotations
from histoscout.cohort.case import Case, find_name_clash, open_case, to_shown_frame
from histoscout.cohort.cohort import Cohort, read_cohort, write_cohort
from histoscout.cohort.discovery import find_slides
from histoscout.cohort.duplicates import Fingerprint
from histoscout.cohort.splits import Split, read_split, write_split
from histoscout.conversion import ConvertOptions, convert
from histoscout.detection.settings import file_hash
from histoscout.errors import AnnotationError, CohortError, SlideError
from histoscout.slides.pyramid import write_pyramid
from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_writer import DataFile, QupathObject
from tests.cohort.test_qupath_project import image, project
from tests.slides.test_files import dicom


@pytest.fixture
def areas(tmp_path: Path) -> Path:
    """An OME-TIFF with a macro image and two areas of equal size, gray 80 and 160."""
    path = tmp_path / "slides" / "two.ome.tif"
    path.parent.mkdir()
    random = np.random.default_rng(0)
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, value in (("macro image", 20), ("area 1", 80), ("area 2", 160)):
            pixels = np.clip(random.normal(value, 9, (64, 64, 3)), 0, 255).astype(np.uint8)
            metadata = {"axes": "YXS", "Name": name, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            file.write(pixels, photometric="rgb", tile=(32, 32), metadata=metadata)
    return path


def qupath(areas: Path, *series: int) -> Path:
    """A project with outlines on these series, drawn in data files that state them."""
    images = []
    for number, chosen in enumerate(series, 1):
        entry = image(areas.as_uri(), number)
        entry["serverBuilder"]["args"] = ["--series", str(chosen)]
        images.append(entry)
    path = project(areas.parents[1] / "qupath", images)
    for entry in images:
        drawn = QupathObject(
            write.corners_roi("RectangleROI", 1, 2, 11 + entry["entryID"], 12), write.path_class("UDH")
        )
        data = path.parent / f"data/{entry['entryID']}/data.qpdata"
        data.write_bytes(bytes(DataFile([drawn], server=entry["serverBuilder"])))
    return path


def grays(cohort: Cohort) -> list[float]:
    values = []
    for case in cohort.cases:
        with open_case(case) as slide:
            assert slide.name == case.name
            values.append(float(slide.read(slide.box, 0.5).mean()))
    return values


def test_both_series_of_a_project_are_slides_of_one_patient(areas: Path) -> None:
    cohort = read_cohort(qupath(areas, 1, 2))
    assert grays(cohort) == pytest.approx([80, 160], abs=3)
    assert [case.name for case in cohort.cases] == ["two - series 1", "two - series 2"]
    assert cohort.patients == ("two",)
    assert find_name_clash(cohort.cases) is None
    assert len({case.key for case in cohort.cases}) == 2
    assert len({file_hash(case) for case in cohort.cases}) == 2


def test_outlines_of_one_series_are_never_put_on_another(areas: Path, tmp_path: Path) -> None:
    path = qupath(areas, 2)
    (case,) = read_cohort(path).cases
    data = path.parent / "data/1/data.qpdata"
    drawn = read_annotations(data)
    assert drawn.image == ImageMetadata(name="two.ome.tif", width=64, height=64, mpp=0.5, series=2)
    with open_case(case) as slide:
        assert len(to_shown_frame(drawn, data, slide).regions) == 1
    with open_case(replace(case, series=None)) as slide, pytest.raises(AnnotationError, match="series 2"):
        to_shown_frame(drawn, data, slide)
    with pytest.raises(AnnotationError, match="series 2"):
        convert(data, tmp_path / "a.geojson", ConvertOptions(slide=areas))
    (done,) = convert(data, tmp_path / "a.geojson", ConvertOptions(slide=areas, series=2))
    assert done.regions == 1


def test_a_project_with_two_series_is_converted_to_two_files(areas: Path, tmp_path: Path) -> None:
    done = convert(qupath(areas, 1, 2), tmp_path / "out", ConvertOptions(slide=areas.parent))
    assert [(result.regions, result.fault) for result in done] == [(1, ""), (1, "")]
    widths = [read_annotations(result.target).regions[0].outline.bounds[2] for result in done]
    assert widths == [12, 13]


def test_the_same_series_outlined_twice_is_refused(areas: Path) -> None:
    with pytest.raises(CohortError, match="series 1"):
        read_cohort(qupath(areas, 1, 1))


def table(areas: Path, *lines: str) -> Path:
    path = areas.parent / "cohort.csv"
    path.write_text("\n".join(("slide,series,patient", *lines)) + "\n")
    return path


def test_the_table_chooses_the_series(areas: Path) -> None:
    path = table(areas, "two.ome.tif,1,P1", "two.ome.tif,2,P1")
    areas.with_name("two.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    own = areas.with_name("two - series 2.geojson")
    own.write_text('{"type": "FeatureCollection", "features": []}')
    cohort = read_cohort(path)
    assert grays(cohort) == pytest.approx([80, 160], abs=3)
    assert [case.annotations for case in cohort.cases] == [None, own]
    write_cohort(cohort, path)
    assert [case.key for case in read_cohort(path).cases] == [case.key for case in cohort.cases]


@pytest.mark.parametrize("cell", ["-1", "x", "1.5", "9999999"])
def test_a_series_that_is_no_number_is_refused(areas: Path, cell: str) -> None:
    with pytest.raises(CohortError, match="series"):
        read_cohort(table(areas, f"two.ome.tif,{cell},P1"))


def test_a_series_is_listed_once(areas: Path) -> None:
    for first, second in (("1", "1"), ("", "0")):
        with pytest.raises(CohortError, match="same slide"):
            read_cohort(table(areas, f"two.ome.tif,{first},P1", f"two.ome.tif,{second},P1"))


def test_a_series_that_does_not_exist_is_refused(areas: Path) -> None:
    (case,) = read_cohort(table(areas, "two.ome.tif,7,P1")).cases
    with pytest.raises(SlideError, match="series 7"):
        open_case(case)


def test_a_split_keeps_series_apart(areas: Path, tmp_path: Path) -> None:
    one, two = (Case(areas, series=number, patient=f"P{number}") for number in (1, 2))
    cohort = Cohort((one, two), "here")
    write_split(Split((two,), (one,), (), blocks=False, notes=()), tmp_path / "split.csv")
    split = read_split(tmp_path / "split.csv", cohort)
    assert (split.train, split.tune) == ((two,), (one,))
    # the slides were moved
    moved = tuple(replace(case, slide=Path("elsewhere") / case.slide.name) for case in (one, two))
    split = read_split(tmp_path / "split.csv", Cohort(moved, "there"))
    assert (split.train, split.tune) == ((moved[1],), (moved[0],))


def test_two_areas_of_a_file_are_no_copies(areas: Path) -> None:
    prints = []
    for number in (1, 2, 2):
        with open_case(Case(areas, series=number)) as slide:
            prints.append(Fingerprint.of(slide, "P1"))
    assert not prints[0].is_copy_of(prints[1])
    assert prints[1].is_copy_of(prints[2])


@pytest.mark.parametrize(
    ("arguments", "series"),
    [
        (["--series", "1"], 1),
        (["-s", "2"], 2),
        (["--series=3"], 3),
        (["--series", "-1"], None),
        (["--series", "x"], None),
        (["--series"], None),
        ([], None),
        (None, None),
        (["--rotate", "ROTATE_90", "--series", "4", "--dims", "XY"], 4),
    ],
)
def test_the_series_is_read_from_the_arguments(arguments: list[str] | None, series: int | None) -> None:
    inner = {"builderType": "uri", "uri": "file:/a.ome.tif", "args": arguments}
    wrapped = {"builderType": "color_deconvolved", "builder": inner}
    assert image_series(inner) == image_series(wrapped) == series


@pytest.mark.parametrize("option", ["--name", "-n", "--dims", "--crop"])
def test_arguments_that_choose_pixels_in_another_way_are_refused(option: str) -> None:
    server: dict[str, Any] = {"builderType": "uri", "uri": "file:/a.ome.tif", "args": [option, "x"]}
    with pytest.raises(AnnotationError, match=option):
        read_server(server, "a.qpdata")


@pytest.mark.parametrize(
    ("argument", "turned"), [("90", True), ("ROTATE_270", True), ("0", False), ("ROTATE_NONE", False)]
)
def test_rotations_are_read_in_both_spellings(argument: str, turned: bool) -> None:
    size = {"width": 40, "height": 30}
    server: dict[str, Any] = {
        "builderType": "uri",
        "uri": "a.tif",
        "args": ["--rotate", argument],
        "metadata": size,
    }
    shown = read_server(server, "a.qpdata")
    assert bool(shown.changes) == turned
    assert (shown.image.width, shown.image.height) == ((30, 40) if turned else (40, 30))


def test_the_files_of_a_dicom_series_are_one_slide(tmp_path: Path) -> None:
    for name, series in (("a.dcm", "1"), ("b.dcm", "1"), ("c.dcm", "2")):
        (tmp_path / name).write_bytes(dicom(series))
    assert [path.name for path in find_slides(tmp_path)] == ["a.dcm", "c.dcm"]
    (tmp_path / "t.csv").write_text("slide,patient\na.dcm,P1\nb.dcm,P2\n")
    with pytest.raises(CohortError, match="same slide"):
        read_cohort(tmp_path / "t.csv")


def test_the_images_of_a_vms_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "S1.vms").write_text(
        "[Virtual Microscope Specimen]\nImageFile=S1.jpg\nMacroImage=S1_macro.jpg\n"
    )
    for name in ("S1.jpg", "S1_macro.jpg", "S2.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in find_slides(tmp_path)] == ["S1.vms", "S2.jpg"]


def test_what_the_user_states_wins_over_file_and_project(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_pyramid(path, np.full((64, 64, 3), 200, np.uint8), 0.5)
    for source in ("cohort", "qupath", "given"):
        with open_case(Case(path, mpp=0.25, mpp_source=source)) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.25, source)
            assert len(slide.notes) == 1
