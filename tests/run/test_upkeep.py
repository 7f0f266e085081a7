"""The state as a whole: copied while others write, and never a directory that holds the project itself."""

from __future__ import annotations

import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import ConfigError, StateCorrupt


@pytest.mark.parametrize(
    "line", ['state = "."', 'state = ""', 'state = ".."', 'state = "features"', 'profile = "prod"']
)
def test_settings_that_would_let_a_reset_delete_the_project_are_refused(tmp_path: Path, line: str) -> None:
    tw.FeatureStore.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "timewell.toml"
    settings.write_text(f"{line}\n")

    with pytest.raises(ConfigError, match=line.split(maxsplit=1)[0]):
        tw.FeatureStore(tmp_path / "shop")


def test_a_backup_does_not_stumble_over_files_that_others_are_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = tw.FeatureStore.init(tmp_path / "shop")
    rows = pa.table({"user_id": [1], "at": [datetime(2026, 1, 1, tzinfo=UTC)]})
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    frames = fs.project.state / "frames"
    written, vanishing = frames / ".x.parquet.1.tmp", frames / "y.parquet"
    written.write_bytes(b"half")
    vanishing.write_bytes(b"renamed before it is read")
    add = tarfile.TarFile.add

    def while_others_write(archive: tarfile.TarFile, name: Path, *args: object, **options: object) -> None:
        vanishing.unlink(missing_ok=True)
        add(archive, name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "add", while_others_write)

    with tarfile.open(fs.backup(tmp_path / "copy.tar")) as archive:
        names = [Path(name).name for name in archive.getnames()]
    assert "registry.db" in names
    assert len([name for name in names if name.endswith(".parquet")]) == 1
    assert not [name for name in names if name.endswith(".tmp")]


def test_a_restore_cut_short_is_told_instead_of_starting_from_nothing(tmp_path: Path) -> None:
    fs = tw.FeatureStore.init(tmp_path / "p")
    kept = fs.backup(tmp_path / "kept.tar")
    fs.close()
    state = fs.project.state
    shutil.rmtree(state)
    whole = state.with_name(f"{state.name}.restoring-1")
    with tarfile.open(kept) as archive:
        archive.extractall(whole, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))

    with pytest.raises(StateCorrupt, match="cut short") as refused:
        tw.FeatureStore(tmp_path / "p").list_features()

    assert refused.value.hint == f"Finish it: mv {whole} {state}"
    whole.rename(state)
    assert tw.FeatureStore(tmp_path / "p").list_features() == []
