"""`renderonline submit --dry-run`: what would be sent, what is missing, what the scenes say."""

from __future__ import annotations

from collections.abc import Sequence

from renderonline import client as farm
from renderonline.commands import output
from renderonline.commands.edge import Exit
from renderonline.commands.progress import size_text


def show(bundles: Sequence[farm.Bundle], allow_missing: bool, as_json: bool) -> int:
    """Tell it; the exit code that the submission itself would have so far."""
    if as_json:
        told = [_as_json(bundle) for bundle in bundles]
        output.emit(told[0] if len(told) == 1 else told)
    else:
        for bundle in bundles:
            _tell(bundle)
    is_refused = not allow_missing and any(bundle.missing for bundle in bundles)
    return Exit.USAGE if is_refused else Exit.DONE


def _tell(bundle: farm.Bundle) -> None:
    count = len(bundle.parts)
    files = "1 file" if count == 1 else f"{count} files"
    output.result(f"{bundle.origin}: {files}, {size_text(bundle.size_bytes)}")
    for part in bundle.parts:
        main = " (rendered)" if part.place == bundle.main else ""
        output.result(f"  {part.place}  {size_text(part.size_bytes)}{main}")
    for missing in bundle.missing:
        output.result(f"  missing: {missing.path}, used by {', '.join(missing.users)}")
    if bundle.facts.version is not None:
        output.result(f"  saved by Blender {_version(bundle)}")
    choices = bundle.choices() or farm.Choices()
    for scene in bundle.facts.scenes:
        output.result(f"  {_scene_text(scene)}{_active(bundle, scene)}")
        layers = choices.view_layers.get(scene.name, ())
        if len(layers) > 1:
            output.result(f"    view layers: {', '.join(layers)}")
    if len(choices.cameras) > 1:
        output.result(f"  cameras: {', '.join(choices.cameras)}")
    missing_count = len(bundle.missing)
    for warning in farm.warnings(bundle)[missing_count:]:
        output.result(f"  warning: {warning}")


def _scene_text(scene: farm.SceneFacts) -> str:
    told = [f'scene "{scene.name}"']
    if scene.frame_start is not None and scene.frame_end is not None:
        step = f"x{scene.frame_step}" if scene.frame_step not in (None, 1) else ""
        told.append(f"frames {scene.frame_start}-{scene.frame_end}{step}")
    if scene.size_px is not None:
        told.append("{} × {} pixels".format(*scene.size_px))
    told += filter(None, (scene.engine, scene.file_format))
    if scene.fps is not None:
        told.append(f"{scene.fps:.4g} frames a second")
    return ", ".join(told)


def _active(bundle: farm.Bundle, scene: farm.SceneFacts) -> str:
    several = len(bundle.facts.scenes) > 1
    return " (the one that is rendered)" if several and scene.name == bundle.facts.active else ""


def _version(bundle: farm.Bundle) -> str | None:
    version = bundle.facts.version
    return None if version is None else f"{version[0]}.{version[1]}"


def _as_json(bundle: farm.Bundle) -> dict[str, object]:
    choices = bundle.choices() or farm.Choices()
    return {
        "File": str(bundle.origin),
        "Main": bundle.main,
        "SizeBytes": bundle.size_bytes,
        "Files": [
            {"Path": part.place, "Source": str(part.source.path), "SizeBytes": part.size_bytes}
            for part in bundle.parts
        ],
        "Missing": [
            {"Path": missing.path, "Users": list(missing.users)} for missing in bundle.missing
        ],
        "Warnings": farm.warnings(bundle),
        "BlenderVersion": _version(bundle),
        "Cameras": list(choices.cameras),
        "Scenes": [_scene_json(bundle, scene, choices) for scene in bundle.facts.scenes],
    }


def _scene_json(
    bundle: farm.Bundle, scene: farm.SceneFacts, choices: farm.Choices
) -> dict[str, object]:
    return {
        "Name": scene.name,
        "IsActive": scene.name == bundle.facts.active,
        "FrameStart": scene.frame_start,
        "FrameEnd": scene.frame_end,
        "FrameStep": scene.frame_step,
        "WidthPx": scene.width_px,
        "HeightPx": scene.height_px,
        "Percentage": scene.percentage,
        "Engine": scene.engine,
        "FileFormat": scene.file_format,
        "IsMovie": scene.is_movie,
        "HasCamera": scene.has_camera,
        "Fps": scene.fps,
        "ViewLayers": list(choices.view_layers.get(scene.name, ())),
    }
