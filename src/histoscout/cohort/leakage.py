"""Does anything that a model learnt from come back where it is judged? Patients, slides, copies of slides.

A model that is judged by what it has learnt looks better than it is; in the study identical tiles stood in both sets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

SIDE = 16  # px of a fingerprint: enough to tell slides apart, too few to show a patient's tissue
LIKE = 0.995  # correlation of two fingerprints from which the slides are copies of one another
SIZE_TOLERANCE = 0.01
NO_STRUCTURE = 1.0  # grey levels; a slide that varies less than this looks like any other empty one


@dataclass(frozen=True)
class Fingerprint:
    """What a slide looks like from far away, to know it again under another name or after compression.

    `gray` holds 16 x 16 grey values as hex, `size_um` its width and height.
    """

    name: str
    patient: str
    size_um: tuple[float, float]
    gray: str
    path: Path | None = None

    @classmethod
    def of(cls, slide: Slide, patient: str) -> Self:
        """Read the slide once, from far away. Raises SlideError."""
        pixels, _ = slide.overview(256)
        small = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        size = (slide.box.width * slide.mpp, slide.box.height * slide.mpp)
        return cls(slide.name, patient, size, small.tobytes().hex(), slide.path)

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json: the path stays behind, a model folder is passed on to others."""
        return {"name": self.name, "patient": self.patient, "size_um": list(self.size_um), "grey": self.gray}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        width, height = values["size_um"]
        return cls(values["name"], values["patient"], (width, height), values["grey"])

    def is_copy_of(self, other: "Fingerprint") -> bool:
        """Whether both are the same file, or pictures of the same glass as far as can be seen."""
        if self.path is not None and other.path is not None and self.path.resolve() == other.path.resolve():
            return True
        pairs = zip(self.size_um, other.size_um, strict=True)
        if any(abs(one - two) > SIZE_TOLERANCE * two for one, two in pairs):
            return False
        one, two = _centerd(self.gray), _centerd(other.gray)
        if min(one.std(), two.std()) < NO_STRUCTURE:
            return self.gray == other.gray and self.name == other.name
        return float((one * two).mean() / (one.std() * two.std())) >= LIKE


def _centerd(gray: str) -> NDArray[np.float64]:
    values = np.frombuffer(bytes.fromhex(gray), np.uint8).astype(np.float64)
    centerd: NDArray[np.float64] = values - values.mean()
    return centerd


def sets_apart(learnt: Sequence[Fingerprint], judged: Sequence[Fingerprint], what: str = "tuning") -> Verdict:
    """No slide, no copy of a slide and no patient may be both among those learnt from and those judged by.

    `what` names the second set in the verdict. "failed" if a slide or a patient is in both (fault
    "tiles-in-both-sets" of the study, as far as whole slides go).
    """
    name = "no slide or patient in two sets"
    if not learnt or not judged:
        return Verdict(
            name=name, state="cannot tell", message=f"one of the two sets, training and {what}, is empty"
        )
    copies = [(a.name, b.name) for a in learnt for b in judged if a.is_copy_of(b)]
    patients = {one.patient for one in learnt} & {one.patient for one in judged}
    if copies:
        shown = _some(a if a == b else f"{a} = {b}" for a, b in copies)
        message = f"the same slide is learnt from and in the {what} set: {shown}"
        return Verdict(
            name=name,
            state="failed",
            message=message,
            remedy="Take the copies out of the cohort, or give them one patient",
        )
    if patients:
        message = f"patients are learnt from and in the {what} set: {_some(patients)}"
        return Verdict(
            name=name,
            state="failed",
            message=message,
            remedy="Put all slides of a patient into one split of the cohort",
        )
    counts = f"{len(learnt)} slides for training, {len(judged)} in the {what} set"
    return Verdict(name=name, state="good", message=f"no slide and no patient in both ({counts})")


def enough_patients(patients: Iterable[str], blocks: bool) -> Verdict:
    """Whether anything can be said about new patients (fault "two-patients" of the study).

    `patients` are all those with annotated slides, whatever their split; `blocks` that tuning happens on
    blocks of the training slides because nobody could be kept apart.
    """
    name, count = "patients enough to speak of new ones", len(set(patients))
    counted = f"{count} patient{'s' * (count != 1)}"
    if blocks:
        message = f"{counted}: no statement about new patients is possible, tuning is on blocks of the training slides"
    elif count < LEAST_PATIENTS:
        message = f"{counted}: no statement about new patients is possible"
    else:
        return Verdict(name=name, state="good", message=counted)
    return Verdict(
        name=name,
        state="warning",
        message=message,
        remedy=f"Annotate slides of at least {LEAST_PATIENTS} patients",
    )


LEAST_PATIENTS = 5  # below it no interval over patients is estimated either


def named_after_its_set(name: str, judged: Iterable[str], learnt: Iterable[str]) -> Verdict:
    """Figures on patients who were learnt from must be named so (fault "metrics-on-all" of the study).

    `name` is what the set of figures is called; `judged` and `learnt` are patients, tuning patients among the learnt.
    """
    title = "figures named after their set"
    both = sorted(set(judged) & set(learnt))
    if not both:
        return Verdict(name=title, state="good", message=f"no patient of the {name} set was learnt from")
    message = f"figures called {name!r} hold patients the model has learnt from: {_some(both)}"
    if name == SEEN:
        return Verdict(
            name=title,
            state="warning",
            message=f"these figures are of patients the model knows: {_some(both)}",
            remedy=_JUDGE,
        )
    return Verdict(name=title, state="failed", message=message, remedy=_JUDGE)


SEEN = "seen in training"
_JUDGE = "Judge the model by patients it has not seen; whatever these figures are, they flatter"


def _some(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(set(names))
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
