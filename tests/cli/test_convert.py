from pathlib import Path

from histoscout.annotations.read import read_annotations
from tests.cli.test_bad_input import refused, run


def test_a_slides_outlines_become_a_mask_and_come_back(table: Path, tmp_path: Path) -> None:
    drawn, slide = table.parent / "slide_0.geojson", table.parent / "slide_0.tif"
    done = run("convert", drawn, tmp_path / "mask.png", "--slide", slide, "--mpp", "2")
    assert done.returncode == 0, done.stderr
    assert "255 = UDH-unsure" in done.stderr
    assert "8 outlines" in done.stdout
    done = run("convert", tmp_path / "mask.png", tmp_path / "back.xml")
    assert done.returncode == 0, done.stderr
    before, after = (read_annotations(path).regions for path in (drawn, tmp_path / "back.xml"))
    area = sum(region.outline.area for region in before)
    assert abs(sum(region.outline.area for region in after) / area - 1) < 0.02


def test_a_folder_with_a_broken_file(table: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.geojson").write_bytes((table.parent / "slide_0.geojson").read_bytes())
    (tmp_path / "in" / "b.xml").write_text("<Annotations>")
    done = run("convert", tmp_path / "in", tmp_path / "out", "--to", "xml")
    refused(done, "b.xml, line 1", "1 converted, 0 there already, 1 failed")
    assert (tmp_path / "out" / "a.xml").exists()


def test_what_is_wrong_is_one_line(table: Path, tmp_path: Path) -> None:
    drawn = table.parent / "slide_0.geojson"
    refused(run("convert", drawn, tmp_path / "a.png"), "--slide")
    refused(run("convert", drawn, tmp_path / "a.png", "--size", "12"), "--size", "100000x80000")
    refused(run("convert", drawn, tmp_path / "a.png", "--values", "x=y;z"), "--values")
    refused(run("convert", drawn, tmp_path / "a.docx"), "a.docx")
    refused(run("convert", tmp_path / "absent.xml", tmp_path / "a.geojson"), "absent.xml")
