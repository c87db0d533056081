"""JSON annotation files: which program wrote one.

To add a dialect, write a function from content and a path to `Annotations`, and one that recognizes the content.
"""

from dataclasses import replace
from pathlib import Path

from histoscout.annotations.darwin import darwin_annotations, is_darwin
from histoscout.annotations.dsa import dsa_annotations, find_documents
from histoscout.annotations.files import read_json_text
from histoscout.annotations.geojson import geojson_annotations
from histoscout.annotations.read import Annotations


def read_json_annotations(path: Path) -> Annotations:
    """Read annotations from JSON, plain, gzipped or zipped: GeoJSON, HistomicsUI (DSA) or Darwin (V7).

    Args:
        path: The JSON file.

    Returns:
        Regions in level-0 px, and notes on what was repaired or left out.

    Raises:
        AnnotationError: The file is none of these, or a coordinate is not a number.
    """
    content, text_notes = read_json_text(path)
    if is_darwin(content):
        annotations = darwin_annotations(content, path)
    elif (documents := find_documents(content)) is not None:
        annotations = dsa_annotations(documents, path)
    else:
        annotations = geojson_annotations(content, path)
    return replace(annotations, notes=(*annotations.notes, *text_notes))
