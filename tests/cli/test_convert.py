from pathlib import Path

from histoscout.annotations.read import read_annotations
from tests.cli.program import assert_refused, run


def test_annotations_become_a_mask_and_come_back(table: Path, tmp_path: Path) -> None:
    source, slide = table.parent / "slide_0.geojson", table.parent / "slide_0.tif"
    result = run("convert", source, tmp_path / "mask.png", "--slide", slide, "--mpp", "2")
    assert result.returncode == 0, result.stderr
    assert "255 = UDH-unsure" in result.stderr
    assert "8 annotations" in result.stdout
    result = run("convert", tmp_path / "mask.png", tmp_path / "back.xml")
    assert result.returncode == 0, result.stderr
    before, after = (read_annotations(path).regions for path in (source, tmp_path / "back.xml"))
    area = sum(region.outline.area for region in before)
    assert abs(sum(region.outline.area for region in after) / area - 1) < 0.02


def test_a_folder_with_a_broken_file(table: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.geojson").write_bytes((table.parent / "slide_0.geojson").read_bytes())
    (tmp_path / "in" / "b.xml").write_text("<Annotations>")
    result = run("convert", tmp_path / "in", tmp_path / "out", "--to", "xml")
    assert_refused(result, "b.xml, line 1", "1 converted", "1 failed")
    assert (tmp_path / "out" / "a.xml").exists()


def test_faults_name_the_option_or_the_file(table: Path, tmp_path: Path) -> None:
    source = table.parent / "slide_0.geojson"
    mask = tmp_path / "a.png"
    assert_refused(run("convert", source, mask), "--slide")
    assert_refused(run("convert", source, mask, "--size", "12"), "--size", "100000x80000")
    assert_refused(run("convert", source, mask, "--values", "x=y;z"), "--values")
    assert_refused(run("convert", source, tmp_path / "a.docx"), "a.docx")
    assert_refused(run("convert", tmp_path / "absent.xml", tmp_path / "a.geojson"), "absent.xml")
