"""Heatmaps on disk: tiled pyramidal OME-TIFF with its scale and the names of its channels."""

import json
from pathlib import Path

import numpy as np
import tifffile

from histoscout.detection.heatmap import Heatmap
from histoscout.errors import OutputError
from histoscout.files import replacing
from histoscout.geometry.box import Box

TILE = 256


def write_heatmap(heatmap: Heatmap, path: Path) -> None:
    """Write a heatmap as OME-TIFF, 0..255 a channel, with um/px, so that QuPath shows it over the slide."""
    facts = {
        "box": heatmap.box.bounds,
        "mpp": heatmap.mpp,
        "slide_mpp": heatmap.slide_mpp,
        "slide": heatmap.slide_name,
        "labels": heatmap.labels,
        "seen": heatmap.seen,
    }
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": heatmap.mpp,
        "PhysicalSizeXUnit": "um",
        "PhysicalSizeY": heatmap.mpp,
        "PhysicalSizeYUnit": "um",
        "Channel": {"Name": list(heatmap.labels)},
        "Description": json.dumps(facts),
    }
    levels = [heatmap.values]
    while max(levels[-1].shape[1:]) > 2 * TILE:
        levels.append(levels[-1][:, ::2, ::2])
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as file:
        for number, level in enumerate(levels):
            file.write(
                np.ascontiguousarray(level),
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=1 if number else 0,
                metadata=metadata if number == 0 else None,
            )


def read_heatmap(path: Path) -> Heatmap:
    """Read a heatmap that `write_heatmap` wrote; OutputError if it is something else."""
    try:
        with tifffile.TiffFile(path) as file:
            values = np.atleast_3d(file.asarray())
            ome = tifffile.xml2dict(file.ome_metadata or "<OME/>")["OME"]
            facts = json.loads(ome["Image"]["Description"])
            values = values.reshape(len(facts["labels"]), *file.series[0].shape[-2:])
    except (OSError, ValueError, KeyError, TypeError, tifffile.TiffFileError) as error:
        raise OutputError(path, "is not a heatmap of histoscout", "Detect again with --overwrite") from error
    left, top, right, bottom = facts["box"]
    box = Box(left, top, right - left, bottom - top)
    labels = tuple(facts["labels"])
    return Heatmap(box, facts["mpp"], facts["slide_mpp"], facts["slide"], labels, values, facts["seen"])
