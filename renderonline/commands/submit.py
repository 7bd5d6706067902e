"""`renderonline submit`: projects in, tasks on the farm, and if asked the frames in a folder."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from renderonline import client as farm
from renderonline import wire
from renderonline.commands import dry_run, output, signin, task_options, waiting
from renderonline.commands.edge import Exit, Failure, UsageError, explain, tell
from renderonline.commands.progress import sending, transfer
from renderonline.commands.sync import Follower
from renderonline.frames import FrameSet


@dataclass(slots=True)
class Outcome:
    """What became of one file."""

    file: Path
    task_id: int | None = None
    state: wire.TaskState | None = None  # None: it did not become a task
    cause: str | None = None  # why the task failed
    warnings: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # what was downloaded
    failure: Failure | None = None  # why it was not sent, or its results not fetched

    def as_json(self) -> dict[str, object]:
        told: dict[str, object] = {
            "File": str(self.file),
            "TaskId": self.task_id,
            "State": self.state,
            "Files": [str(path) for path in self.files],
            "Cause": self.cause,
            "Warnings": self.warnings,
        }
        return told | (self.failure.as_json() if self.failure else {})


def run(args: argparse.Namespace) -> int:
    """Check every project, then send every one, then (if asked) wait for all and fetch."""
    frames = None if args.frames is None else FrameSet.parse(args.frames)
    arguments = parse_arguments(args.arg)
    variants = [parse_variant(text) for text in args.variant]
    if args.sync and args.download:
        raise UsageError("`--sync` and `--download` are two ways to the results. Choose one.")
    bundles = _bundles(args)
    if args.dry_run:
        return dry_run.show(bundles, args.allow_missing, args.json)
    for bundle in bundles:
        if not args.allow_missing:
            farm.complete(bundle)
    with signin.connect(args) as client:
        submissions = _prepare(client, args, bundles, arguments, frames, variants)
        for submission in submissions:
            _announce(submission, args.frames is not None)
        outcomes = [_send(client, submission) for submission in submissions]
        waited = bool(args.wait or args.download or args.sync)
        if waited:
            _wait(client, outcomes, args.sync and args.sync.absolute())
        if args.download:
            _fetch(client, outcomes, args.download.absolute())
    _report(outcomes, args.json)
    return exit_code(outcomes, waited)


def parse_arguments(texts: Sequence[str], option: str = "--arg") -> dict[str, str]:
    """`name=value`, each once. Raises UsageError."""
    arguments: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"`{option} {text}` is not of the form name=value.")
        if name in arguments:
            raise UsageError(f"The argument {name} is given twice.")
        arguments[name] = value
    return arguments


def parse_variant(text: str) -> farm.Variant:
    """`name:key=value,key=value`; a comma that no key follows belongs to the value before it, as in
    frames=1-9,20. Raises UsageError, FrameError."""
    name, _, rest = text.partition(":")
    if not name.strip():
        raise UsageError(
            f"`--variant {text}` has no name.", "As in `--variant proxy:output_format=JPEG`."
        )
    given = parse_arguments(re.split(r",(?=[^,=]+=)", rest) if rest else [], f"--variant {name}:")
    frames = given.pop("frames", None)
    return farm.Variant(
        name.strip(),
        engine=given.pop("engine", None),
        engine_version=given.pop("version", None),
        view=farm.View(*(given.pop(name, None) for name in ("scene", "camera", "view_layer"))),
        arguments=given,
        frames=None if frames is None else FrameSet.parse(frames),
    )


def exit_code(outcomes: Sequence[Outcome], waited: bool) -> Exit:
    """DONE if all that was asked for came about; else what stood in the way first."""
    for outcome in outcomes:
        if outcome.failure is not None:
            return outcome.failure.exit_code
        if waited and outcome.state is not wire.TaskState.SUCCEEDED:
            return Exit.FAILED
    return Exit.DONE


def _bundles(args: argparse.Namespace) -> list[farm.Bundle]:
    """What each of the named projects is made of. Raises UsageError, Unusable."""
    if args.main is not None and len(args.files) > 1:
        raise UsageError(
            "`--main` names a file of one project.", "Submit the others by themselves."
        )
    options = {"main": args.main, "project": args.project, "follow_links": not args.no_links}
    return [farm.bundle.of(file, **options) for file in args.files]


def _announce(submission: farm.Submission, has_frames: bool) -> None:
    """Say what was not asked for, and what will be other than was meant."""
    name = submission.file.name
    if submission.frames and not has_frames:
        output.say(f"{name}: frames {submission.frames}, as the scene says")
    scene = submission.bundle.facts.scene(submission.view.scene)
    if submission.format not in (None, "PNG") and scene and submission.format == scene.file_format:
        output.say(f"{name}: output {submission.format}, as the scene says")
    for warning in farm.warnings(submission.bundle, submission.view):
        output.say(f"Warning: {name}: {warning}")


def _prepare(
    client: farm.Client,
    args: argparse.Namespace,
    bundles: Sequence[farm.Bundle],
    arguments: dict[str, str],
    frames: FrameSet | None,
    variants: Sequence[farm.Variant],
) -> list[farm.Submission]:
    engines = client.engines()
    wishes = farm.Wishes(
        preview_first=args.preview_first,
        engine_version=args.engine_version,
        **{name: value for name, value in task_options.submitted(args).items() if name != "frames"},
    )
    view = farm.View(args.scene, args.camera, args.view_layer)
    submissions = []
    for bundle in bundles:
        engine = farm.choose_engine(engines, PurePath(bundle.main), args.engine)
        what = (engine, arguments, frames, wishes)
        submissions.append(
            farm.prepare_variants(bundle, engines, *what, variants, view)
            if variants
            else farm.prepare(bundle, *what, view)
        )
    return submissions


def _send(client: farm.Client, submission: farm.Submission) -> Outcome:
    """Upload one. What goes wrong stays with this file: those before it are on the farm already."""
    outcome = Outcome(submission.file, warnings=farm.warnings(submission.bundle, submission.view))
    try:
        with sending(submission.file.name) as progress:
            outcome.task_id = client.submit(submission, progress)
        outcome.state = wire.TaskState.QUEUED
    except farm.ClientError as error:
        _note_failure(outcome, error)
    return outcome


def _wait(client: farm.Client, outcomes: Sequence[Outcome], mirrored: Path | None) -> None:
    """`mirrored`: the folder that gets what is rendered as it appears."""
    sent = {outcome.task_id: outcome for outcome in outcomes if outcome.task_id is not None}
    unseen = dict(sent)
    followers: dict[int, Follower] = {}
    if mirrored is not None:
        followers = {
            task_id: Follower(client.mirror(task_id, _own_folder(mirrored, outcomes, outcome)))
            for task_id, outcome in sent.items()
        }

    def meanwhile(task_id: int, seen: wire.TaskDetail) -> None:
        if (follower := followers.get(task_id)) is not None:
            _mirror(follower, sent[task_id], seen)

    try:
        names = {task_id: outcome.file.name for task_id, outcome in sent.items()}
        for task_id, end in waiting.ends(client, names, meanwhile):
            _note_end(unseen.pop(task_id), end)
    except farm.ClientError as error:
        for outcome in unseen.values():
            _note_failure(outcome, error)
    except KeyboardInterrupt:
        output.say(f"The farm goes on rendering without you: task {', '.join(map(str, unseen))}.")
        raise


def _note_end(outcome: Outcome, end: wire.TaskDetail | farm.NotFound) -> None:
    if isinstance(end, farm.NotFound):
        _note_failure(outcome, end)
        return
    outcome.state, outcome.cause = end.task.state, end.task.cause
    outcome.warnings += end.warnings


def _note_failure(outcome: Outcome, error: farm.ClientError) -> None:
    """Tell it, and keep it with its file: the others may do better."""
    outcome.failure = explain(error)
    tell(outcome.failure)


def _mirror(follower: Follower, outcome: Outcome, seen: wire.TaskDetail) -> None:
    """Put what is new into the task's folder. A disk that is full is told once, and the task goes on."""
    if outcome.failure is not None:
        return
    try:
        follower.look(seen)
        outcome.files = follower.mirror.files
    except farm.Unreachable:
        raise
    except farm.ClientError as error:
        _note_failure(outcome, error)


def _own_folder(folder: Path, outcomes: Sequence[Outcome], outcome: Outcome) -> Path:
    """Of several tasks each gets a folder of its own."""
    return folder if len(outcomes) == 1 else folder / f"{outcome.file.stem}-{outcome.task_id}"


def _fetch(client: farm.Client, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Download what has been rendered."""
    for outcome in outcomes:
        if outcome.task_id is None or outcome.failure is not None:
            continue
        own = _own_folder(folder, outcomes, outcome)
        try:
            with transfer(f"downloading the results of {outcome.file.name}") as progress:
                outcome.files = client.results(outcome.task_id, own, progress)
        except farm.ClientError as error:
            _note_failure(outcome, error)


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    for outcome in outcomes:
        if outcome.cause:
            output.say(f"{outcome.file.name}: {outcome.cause}")
    if as_json:
        told = [outcome.as_json() for outcome in outcomes]
        output.emit(told[0] if len(told) == 1 else told)
        return
    for outcome in outcomes:
        if outcome.task_id is not None:
            output.result(f"{outcome.file.name}: task {outcome.task_id}, {outcome.state}")
        for path in outcome.files:
            output.result(f"  {path}")
