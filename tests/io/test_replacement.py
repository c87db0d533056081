"""Replacing results: the old ones or the new ones are whole, whatever happens in between."""

import os
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.io.replacement import COMMIT, NEW, OLD, Replacement, finish_replacement

OLD_FILES = {"model.json": "old", "weights": "old", "training/curves": "old", "training/events/1": "old"}
NEW_FILES = {"model.json": "new", "weights": "new", "training/curves": "new", "training/member/curves": "new"}
OTHERS = {"notes.txt": "mine"}


class KilledError(BaseException):
    """Stands for a kill: nothing but the system's own work goes on after it."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def prepare(out: Path) -> Replacement:
    write(out, OLD_FILES | OTHERS)
    new = Replacement(out, ("training",))
    with new.prepare({"recipe": "a"}):
        write(new.folder, NEW_FILES)
    return new


def test_new_results_take_the_place_of_the_old(tmp_path: Path) -> None:
    prepare(tmp_path).commit()
    assert read(tmp_path) == NEW_FILES | OTHERS
    assert not (tmp_path / "training" / "events").exists()
    assert not {COMMIT, NEW, OLD} & {path.name for path in tmp_path.iterdir()}


def test_new_results_are_resumed_for_the_same_purpose_only(tmp_path: Path) -> None:
    new = prepare(tmp_path)
    with new.prepare({"recipe": "a"}):
        assert NEW_FILES.items() <= read(new.folder).items()
    with new.prepare({"recipe": "b"}):
        assert not NEW_FILES.keys() & read(new.folder).keys()
    # nothing was made
    assert not new.folder.exists()
    assert (OLD_FILES | OTHERS).items() <= read(tmp_path).items()


@pytest.mark.parametrize("fails", [OSError(16, "Device or resource busy"), KilledError()])
def test_whichever_move_ends_it_the_old_or_the_new_results_are_whole(
    fails: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = 0
    real = os.replace
    for last in range(1, 12):
        out = tmp_path / str(last)
        new = prepare(out)
        moves = 0

        def move(source: Path, target: Path, last: int = last) -> None:
            nonlocal moves
            moves += 1
            if moves == last:
                raise fails
            # after a kill there is no way back
            assert moves < last or isinstance(fails, OSError)
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", move)
            try:
                new.commit()
            except OutputError:
                before = {name: text for name, text in read(out).items() if not name.startswith(NEW)}
                assert before == OLD_FILES | OTHERS
                with new.prepare({"recipe": "a"}):
                    pass
            except KilledError:
                assert (out / NEW).exists() != (out / COMMIT).exists()
            ended = moves < last
        # the same command once more
        if not ended and isinstance(fails, OSError):
            new.commit()
        elif finish_replacement(out) is None and (out / NEW).exists():
            assert (OLD_FILES | OTHERS).items() <= read(out).items()
            new.commit()
        assert read(out) == NEW_FILES | OTHERS
    assert moves < 12


def test_a_folder_that_is_another_disk_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, OLD_FILES)

    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError), Replacement(tmp_path, ("training",)).prepare({}):
        pytest.fail("the work begins")
    assert read(tmp_path) == OLD_FILES
    assert not (tmp_path / NEW).exists()
