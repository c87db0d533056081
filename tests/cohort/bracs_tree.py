"""A made-up BRACS of a few tiny slides: its folders, its table, its outlines, its RoIs, and what is wrong with it."""

from pathlib import Path

import numpy as np
import openpyxl
from PIL import Image

from histoscout.slides.pyramid import write_pyramid
from tests.annotations.qpdata_writer import DataFile, QupathObject, path_class, points_roi

HEADINGS = ["WSI Filename", "Patient Id", "RoI ", "WSI label", "Set"]
ROWS: list[list[object]] = [
    ["BRACS_1286.svs", 23, 12, "UDH", "Training"],
    ["BRACS_1494", 49.0, 55, "ADH", "Training"],
    ["BRACS_1496.svs", 49, 3, "UDH", "Training"],
    ["BRACS_264", 67, 4, "PB", "Validation"],
    ["BRACS_291", 67, 0, "N", "Training"],
    ["BRACS_310", 5, 0, "N", "Testing"],
    ["BRACS_311", 6, 7, "IC", "Validation"],
    ["BRACS_999", 7, 7, "IC", "Testing"],  # not downloaded
]
SPELLINGS = {
    "BRACS_1286": ["UDH-sure", "UDH-unsure", "Pathologica benign"],
    "BRACS_1494": ["UDH", "ADH-sure", "Benign sure"],
    "BRACS_264": ["Benign-sure", "Pathological-benign", "Something else"],
    "BRACS_311": ["Malignant-sure", "Malignant", "DCIS-sure", "FEA"],
}
PLACES = {
    "BRACS_1286": "train/Group_BT/Type_UDH",
    "BRACS_1494": "train/Group_AT/Type_ADH",
    "BRACS_1496": "train/Group_BT/Type_UDH",
    "BRACS_264": "val/Group_BT/Type_PB",
    "BRACS_291": "train/Group_BT/Type_N",
    "BRACS_310": "test/Group_BT/Type_N",
    "BRACS_311": "val/Group_MT/Type_IC",
}
ROIS = (
    "latest_version/train/2_UDH/BRACS_1286_UDH_1.png",
    "latest_version/train/4_ADH/BRACS_1494_ADH_2.png",
    "latest_version/train/3_FEA/BRACS_1494_FEA_3.png",
    "latest_version/val/1_PB/BRACS_264_PB_1.png",  # of patient 67, who is moved to train
    "latest_version/test/6_IC/BRACS_311_IC_1.png",  # patient 6 is in Validation
    "latest_version/train/4_ADH/BRACS_1494_FEA_9.png",  # folder and name disagree
    "latest_version/test/0_N/BRACS_5000_N_1.png",  # a slide that the table does not list
)


def make_tree(folder: Path) -> Path:
    """BRACS as it looks after the download, below this folder."""
    pixels = np.full((30, 40, 3), 230, np.uint8)
    for name, place in PLACES.items():
        write_pyramid(folder / "BRACS_WSI" / place / f"{name}.svs", pixels, 0.25)
        if name in SPELLINGS:
            drawn = [
                QupathObject(points_roi("PolygonROI", square(i)), path_class(n))
                for i, n in enumerate(SPELLINGS[name])
            ]
            outlines = folder / "BRACS_WSI_Annotations" / place / f"{name}.qpdata"
            outlines.parent.mkdir(parents=True)
            outlines.write_bytes(bytes(DataFile(drawn, "0.2", f"file:/C:/bracs/{name}.svs")))
    for roi in ROIS:
        write_roi(folder / "BRACS_RoI" / roi)
    write_table(folder / "BRACS.xlsx")
    return folder


def square(number: int) -> list[list[int]]:
    left = 2 + 8 * number
    return [[left, 2], [left + 6, 2], [left + 6, 8], [left, 8]]


def write_roi(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (200, 150, 180)).save(path)


def write_table(
    path: Path, rows: list[list[object]] | None = None, headings: list[str] | None = None
) -> None:
    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    first.title = "ReadMe"
    first.append(["BRACS: see the paper"])
    sheet = book.create_sheet("WSI_Information")
    sheet.append(["WSI information"])
    for row in [headings or HEADINGS, *(ROWS if rows is None else rows)]:
        sheet.append(row)
    book.save(path)
