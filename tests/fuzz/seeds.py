"""Small valid files of each format, with an example of everything that its reader reads."""

import io
import json
import re
import zipfile
from typing import Any

import numpy as np
import openpyxl
import tifffile
from PIL import Image

SQUARE = [[[0, 0], [10, 0], [10, 10.5], [0, 10], [0, 0]]]
HOLED = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 6], [3, 3]]]


def _feature(kind: str, coordinates: Any, properties: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": name,
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def geojson() -> dict[str, bytes]:
    new = {
        "objectType": "annotation",
        "name": "a duct",
        "classification": {"names": ["Tumor", "Invasive"], "color": [200, 0, 0]},
        "isLocked": True,
        "measurements": {"Area": 12.5, "histoscout score": 0.5, "missing": "NaN"},
        "metadata": {"ANNOTATION_DESCRIPTION": "sure"},
    }
    old = {
        "object_type": "annotation",
        "classification": {"name": "UDH", "colorRGB": -3670016},
        "measurements": [{"name": "Area", "value": 3}],
        "color": [0, 1, 2],
    }
    child = _feature("Polygon", SQUARE, {"classification": "UDH"}, "b")
    whole = {"type": "FeatureCollection", "features": [_feature("Polygon", HOLED, new, "a"), child]}
    nested = _feature(
        "MultiPolygon", [SQUARE, HOLED], {**old, "childObjects": [child]}, "PathAnnotationObject"
    )
    collection = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": SQUARE}]}
    shifted = {"type": "Polygon", "coordinates": SQUARE, "plane": {"c": -1, "z": 1, "t": 0}}
    files = {"collection": whole, "array": [nested, child], "geometry": collection, "plane": [shifted]}
    return {name: json.dumps(content).encode() for name, content in files.items()}


IMAGESCOPE = """<?xml version="1.0" encoding="windows-1252"?>
<Annotations MicronsPerPixel="0.252000">
 <Annotation Id="1" Name="UDH" ReadOnly="0" Type="4" LineColor="65280" Visible="1">
  <Attributes><Attribute Name="Description" Id="0" Value="na\u00efve" /></Attributes>
  <Regions>
   <RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region" ColumnWidth="-1" /></RegionAttributeHeaders>
   <Region Id="1" Type="0" Text="a duct" NegativeROA="0" Zoom="0.0625" Length="40" Area="100">
    <Attributes /><Vertices><Vertex X="0" Y="0" Z="0" /><Vertex X="40,5" Y="0" Z="0" />
    <Vertex X="40" Y="40" Z="0" /><Vertex X="0" Y="40" Z="0" /><Vertex X="0" Y="0" Z="0" /></Vertices>
   </Region>
   <Region Id="2" Type="2" NegativeROA="1"><Vertices><Vertex X="5" Y="5" /><Vertex X="15" Y="12" /></Vertices></Region>
   <Region Id="3" Type="1"><Vertices><Vertex X="50" Y="5" /><Vertex X="70" Y="22" /></Vertices></Region>
   <Region Id="4" Type="3"><Vertices><Vertex X="5" Y="5" /><Vertex X="15" Y="12" /></Vertices></Region>
  </Regions><Plots />
 </Annotation>
 <Annotation Id="2" LineColor="255" Visible="0">
  <Attributes><Attribute Name="ADH" Id="0" Value="" /></Attributes>
  <Regions><Region Id="1" Type="0"><Attributes><Attribute Name="sure" Value="yes" /></Attributes><Vertices>
   <Vertex X="80" Y="80" /><Vertex X="90" Y="80" /><Vertex X="80" Y="90" /></Vertices></Region></Regions>
 </Annotation>
</Annotations>
"""
ASAP = """<?xml version="1.0"?>
<ASAP_Annotations>
 <Annotations>
  <Annotation Name="Annotation 0" Type="Polygon" PartOfGroup="invasive" Color="#F4FA58"><Coordinates>
   <Coordinate Order="1" X="40.5" Y="0" /><Coordinate Order="0" X="0" Y="0" />
   <Coordinate Order="2" X="40" Y="40" /><Coordinate Order="3" X="0" Y="40" /></Coordinates></Annotation>
  <Annotation Name="h" Type="Spline" PartOfGroup="Exclusion" Color="#000000"><Coordinates>
   <Coordinate Order="0" X="5" Y="5" /><Coordinate Order="1" X="9" Y="5" /><Coordinate Order="2" X="9" Y="9" />
   </Coordinates></Annotation>
  <Annotation Name="r" Type="Rectangle" PartOfGroup="None" Color="#00ff00"><Coordinates>
   <Coordinate Order="0" X="50" Y="5" /><Coordinate Order="1" X="70" Y="5" /><Coordinate Order="2" X="70" Y="9" />
   <Coordinate Order="3" X="50" Y="9" /></Coordinates></Annotation>
  <Annotation Name="d" Type="Dot" PartOfGroup="None"><Coordinates><Coordinate Order="0" X="1" Y="1" /></Coordinates>
  </Annotation>
  <Annotation Name="p" Type="Polygon" PartOfGroup="Tumour" Region="one" Score="0.5"><Coordinates>
   <Coordinate Order="0" X="80" Y="80" /><Coordinate Order="1" X="95" Y="80" /><Coordinate Order="2" X="80" Y="95" />
   </Coordinates></Annotation>
  <Annotation Name="p" Type="Polygon" PartOfGroup="Exclusion" Region="one" Hole="1"><Coordinates>
   <Coordinate Order="0" X="82" Y="82" /><Coordinate Order="1" X="84" Y="82" /><Coordinate Order="2" X="82" Y="84" />
   </Coordinates></Annotation>
 </Annotations>
 <AnnotationGroups>
  <Group Name="Tumour" PartOfGroup="None" Color="#ff0000"><Attributes /></Group>
  <Group Name="invasive" PartOfGroup="Tumour" Color="#00ff00"><Attributes><Attribute a="b" /></Attributes></Group>
 </AnnotationGroups>
</ASAP_Annotations>
"""
HALO = """<Annotations><Annotation Name="Tumour" Visible="True" LineColor="65280"><Regions>
<Region Type="Polygon" HasEndcaps="0" NegativeROA="0"><Vertices><V X="0" Y="0" /><V X="9" Y="0" /><V X="9" Y="9" />
</Vertices><Comments /></Region>
<Region Type="Ellipse" HasEndcaps="0" NegativeROA="1"><Vertices><V X="4" Y="1" /><V X="6" Y="3" /></Vertices></Region>
<Region Type="Ruler"><Vertices><V X="4" Y="1" /><V X="6" Y="3" /></Vertices></Region>
</Regions></Annotation></Annotations>
"""


def imagescope() -> dict[str, bytes]:
    windows = IMAGESCOPE.encode("cp1252")
    wide = IMAGESCOPE.replace("windows-1252", "utf-16").encode("utf-16")
    return {
        "windows": windows,
        "wrong encoding": IMAGESCOPE.replace("windows-1252", "utf-8").encode("cp1252"),
        "wide": wide,
    }


def asap() -> dict[str, bytes]:
    camelyon = ASAP.replace("Exclusion", "_2").replace("invasive", "_0").replace("Tumour", "_1")
    return {"groups": ASAP.encode(), "camelyon": camelyon.encode()}


def halo() -> dict[str, bytes]:
    return {"halo": HALO.encode()}


def _values() -> np.ndarray[Any, np.dtype[np.uint8]]:
    values = np.zeros((24, 40), np.uint8)
    values[2:9, 3:20] = 1
    values[4:6, 5:9] = 0
    values[12:20, 20:40] = 2
    values[20:, :5] = 255
    return values


def _pillow(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def png() -> dict[str, bytes]:
    gray = Image.fromarray(_values())
    palette = Image.fromarray(_values() // 100)
    palette.putpalette(list(range(256)) * 3)
    wide = Image.fromarray(_values().astype(np.uint16))
    return {
        name: _pillow(image, format="PNG")
        for name, image in {
            "gray": gray,
            "palette": palette,
            "wide": wide,
            "rgb": gray.convert("RGB"),
        }.items()
    }


def tiff() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "deflated": {"compression": "zlib"},
        "tiled": {"tile": (16, 16), "compression": "lzw"},
        "big": {"bigtiff": True, "compression": "packbits"},
    }
    for name, tiff_options in options.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, _values(), **tiff_options)
        files[name] = buffer.getvalue()
    return files


def jpeg() -> dict[str, bytes]:
    image = Image.fromarray((_values() > 0).astype(np.uint8) * 255)
    return {
        "gray": _pillow(image, format="JPEG"),
        "rgb": _pillow(image.convert("RGB"), format="JPEG"),
        "progressive": _pillow(image, format="JPEG", progressive=True),
    }


def bracs_table() -> dict[str, bytes]:
    """The sheet of slides in BRACS.xlsx."""
    cells: list[list[object]] = [["WSI Filename", "Patient Id", "RoI ", "WSI label", "Set"]]
    cells += [["BRACS_1286.svs", 23, 12, "UDH", "Training"], ["BRACS_264", 67, 4, "PB", "Validation"]]
    book = openpyxl.Workbook()
    for row in cells:
        book.worksheets[0].append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        texts = archive.read("xl/worksheets/sheet1.xml")
    inline = re.sub(
        rb'<c r="(\w+)" t="s"><v>\d+</v></c>', rb'<c r="\1" t="inlineStr"><is><t>Set</t></is></c>', texts
    )
    return {"shared texts": texts, "inline texts": inline}


# ---------------------------------------------------------------- formats of other slide viewers

NDPVIEW = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
 <ndpviewstate id="1"><title>UDH</title><details>a duct</details><coordformat>nanometers</coordformat>
  <annotation type="freehand" displayname="AnnotateFreehand" color="#ff0000"><measuretype>0</measuretype>
   <closed>1</closed><pointlist><point><x>-9000</x><y>-9000</y></point><point><x>9000</x><y>-9000</y></point>
   <point><x>9000</x><y>9000</y></point><point><x>-9000</x><y>9000</y></point></pointlist></annotation></ndpviewstate>
 <ndpviewstate id="2"><title>ADH</title><annotation type="circle" color="#00ff00"><x>20000</x><y>5000</y>
  <radius>4000</radius></annotation></ndpviewstate>
 <ndpviewstate id="3"><title>open</title><annotation type="freehand"><closed>0</closed><pointlist>
  <point><x>1</x><y>2</y></point><point><x>3</x><y>4</y></point></pointlist></annotation></ndpviewstate>
 <ndpviewstate id="4"><annotation type="pin"><x>1</x><y>2</y></annotation></ndpviewstate>
</annotations>
"""
SLIDEFLOW = """roi_name,label,x_base,y_base
ROI_0,UDH,10.5,10
ROI_0,UDH,50,10
ROI_0,UDH,50,40
ROI_0,UDH,10,40
ROI_1,,100,100
ROI_1,,150,100
ROI_1,,150,150
"""


def ndpview() -> dict[str, bytes]:
    return {"all types": NDPVIEW.encode()}


def slideflow() -> dict[str, bytes]:
    old = "ROI_Name,X_base,Y_base\nROI_0,1,1\nROI_0,9,1\nROI_0,9,9\n"
    return {"labels": SLIDEFLOW.encode(), "without labels": old.encode()}


def dsa() -> dict[str, bytes]:
    ring = [[0, 0, 0], [40, 0, 0], [40, 40, 0], [0, 40, 0]]
    hole = [[5, 5, 0], [9, 5, 0], [9, 9, 0]]
    elements: list[dict[str, Any]] = [
        {
            "type": "polyline",
            "closed": True,
            "points": ring,
            "holes": [hole],
            "group": "UDH",
            "lineColor": "#ff0000",
        },
        {"type": "polyline", "closed": False, "points": ring},
        {
            "type": "rectangle",
            "center": [90, 30, 0],
            "width": 20,
            "height": 10,
            "rotation": 0.5,
            "group": "default",
        },
        {"type": "ellipse", "center": [90, 90, 0], "width": 20, "height": 10, "label": {"value": "ADH"}},
        {"type": "circle", "center": [150, 90, 0], "radius": 7, "lineColor": "rgb(1, 2, 3)", "id": "5f"},
        {"type": "point", "center": [1, 2, 0]},
    ]
    document = {"name": "lesions", "description": "", "elements": elements}
    record = {"_id": "5f", "itemId": "60", "annotation": document}
    return {
        "document": json.dumps(document).encode(),
        "list": json.dumps([record, document]).encode(),
        "lines": "\n".join(json.dumps(one) for one in (record, document)).encode(),
    }


def darwin() -> dict[str, bytes]:
    ring = [{"x": x, "y": y} for x, y in [(0, 0), (40, 0), (40, 40.5), (0, 40)]]
    hole = [{"x": x, "y": y} for x, y in [(5, 5), (9, 5), (9, 9)]]
    box = {"x": 5, "y": 5, "w": 20, "h": 10}
    new = {
        "version": "2.0",
        "item": {"name": "A1.svs", "slots": [{"slot_name": "0", "width": 500, "height": 400}]},
        "annotations": [
            {"id": "a", "name": "UDH", "polygon": {"paths": [ring, hole]}, "bounding_box": box},
            {"id": "b", "name": "ADH", "bounding_box": box},
            {
                "id": "c",
                "name": "ADH",
                "ellipse": {"angle": 0.5, "center": {"x": 90, "y": 90}, "radius": {"x": 9, "y": 5}},
            },
            {"id": "d", "name": "point", "keypoint": {"x": 1, "y": 2}},
        ],
    }
    old = {
        "image": {"width": 500, "height": 400, "original_filename": "A1.svs"},
        "annotations": [{"name": "UDH", "polygon": {"path": ring, "additional_paths": [hole]}}],
    }
    return {"2.0": json.dumps(new).encode(), "1.0": json.dumps(old).encode()}
